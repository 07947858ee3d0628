// A stand-in for Jenkins: runs Job DSL scripts and Declarative pipelines and writes down what they do.
//
// Answers each line of JSON that it reads with one. It knows only what is listed below, with the plugin that brings it,
// and refuses everything else; the order of events is that of ModelInterpreter in the plugin pipeline-model-definition.

import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import org.codehaus.groovy.control.CompilationFailedException
import org.codehaus.groovy.control.CompilationUnit
import org.codehaus.groovy.control.CompilerConfiguration
import org.codehaus.groovy.control.Phases

class Known {
  static final TEXT = CharSequence

  // what a pipeline may do: the plugin (of plugins.txt, or core), parameters that it needs and that it takes, a body
  static final Map STEPS = [
    script: [plugin: 'workflow-aggregator', body: true],
    sh: [plugin: 'workflow-aggregator', needs: [script: TEXT],
      takes: [label: TEXT, returnStatus: Boolean, returnStdout: Boolean], agent: true],
    echo: [plugin: 'workflow-aggregator', needs: [message: TEXT]],
    error: [plugin: 'workflow-aggregator', needs: [message: TEXT]],
    unstable: [plugin: 'workflow-aggregator', needs: [message: TEXT]],
    timeout: [plugin: 'workflow-aggregator', needs: [time: Integer], takes: [unit: TEXT], body: true, option: true],
    timestamps: [plugin: 'timestamper', body: true, option: true],
    lock: [plugin: 'lockable-resources', needs: [resource: TEXT], body: true, option: true],
    archiveArtifacts: [plugin: 'core', needs: [artifacts: TEXT], agent: true],
    junit: [plugin: 'junit', needs: [testResults: TEXT],
      takes: [skipMarkingBuildUnstable: Boolean, skipPublishingChecks: Boolean, keepTestNames: Boolean], agent: true],
    emailext: [plugin: 'email-ext', needs: [subject: TEXT, body: TEXT], takes: [to: TEXT, mimeType: TEXT]],
  ]

  // what a job may say: a map is a block, a list the types of a method's arguments
  static final Map JOB = [
    description: [String],
    parameters: [
      stringParam: [String, String, String],
      booleanParam: [String, Boolean, String],
      choiceParam: [String, List, String],
    ],
    logRotator: [daysToKeep: [Integer]],
    properties: [disableConcurrentBuilds: [], pipelineTriggers: [triggers: [cron: [spec: [String]]]]],
    definition: [cps: [script: [String], sandbox: [Boolean]]],
  ]
  static final Set JOB_PLUGINS = ['job-dsl', 'workflow-aggregator']

  static final List ENVIRONMENT = ['BUILD_TAG', 'BUILD_URL', 'STAGE_NAME', 'JENKINS_MAIL_TO']
  static final List RESULTS = ['SUCCESS', 'UNSTABLE', 'FAILURE', 'NOT_BUILT', 'ABORTED'] // from good to bad
}

class Refused extends Error { // no Exception: no script catches it
  Refused(String message) { super(message) }
}

class Aborted extends Exception {
  Aborted(String message) { super(message) }
}

class Interrupted extends Exception { // by a timeout or a person
}

// --- Blocks: `name arguments` lines, read with a delegate that takes nothing else ---

class Block {
  String where
  Collection allowed
  List lines = []

  def methodMissing(String name, arguments) {
    if (!(name in allowed)) {
      throw new Refused("$where: there is no $name")
    }
    lines << [name: name, arguments: arguments as List]
    return null
  }

  def propertyMissing(String name) {
    if (where == 'pipeline' && name == 'none') {
      return name
    }
    throw new Refused("$where: there is no $name")
  }

  static List read(String where, Collection allowed, Closure body) {
    def block = new Block(where: where, allowed: allowed)
    body.delegate = block
    body.resolveStrategy = Closure.DELEGATE_ONLY
    body()
    if (!block.lines) {
      throw new Refused("$where is empty")
    }
    return block.lines
  }

  /** A block in which a name may stand once and has one argument. */
  static Map once(String where, Collection allowed, Closure body) {
    def lines = read(where, allowed, body)
    lines.countBy { it.name }.each { name, count ->
      if (count > 1) {
        throw new Refused("$where: $name is there twice")
      }
    }
    return lines.collectEntries { [it.name, it.arguments[0]] }
  }
}

// --- Job DSL ---

abstract class JobScript extends Script {
  List jobs = []

  def methodMissing(String name, arguments) {
    if (name != 'pipelineJob' || !(arguments.size() == 2 && arguments[0] instanceof String)) {
      throw new Refused("Job DSL: there is no $name")
    }
    jobs << [name: arguments[0], says: said('', Known.JOB, arguments[1])]
  }

  private static List said(String path, Map grammar, Closure body) {
    Block.read(path ?: 'pipelineJob', grammar.keySet(), body).collectMany { line ->
      def expected = grammar[line.name]
      def name = path ? path + '.' + line.name : line.name
      if (expected instanceof Map) {
        return said(name, expected, line.arguments[0])
      }
      def fits = line.arguments.size() == expected.size() &&
        [line.arguments, expected].transpose().every { value, type -> type.isInstance(value) }
      if (!fits) {
        throw new Refused("$name takes ${expected*.simpleName}, not ${line.arguments*.class*.simpleName}")
      }
      return [[path: name, arguments: line.arguments]]
    }
  }
}

// --- Declarative pipelines ---

class Env {
  Build build

  def getProperty(String name) {
    if (name in build.assigned) {
      return build.assigned[name]
    }
    if (!(name in Known.ENVIRONMENT)) {
      if (name in build.assignable) {
        return null
      }
      throw new Refused("env: nothing sets $name")
    }
    return name == 'STAGE_NAME' ? build.stage : build.scenario[name]
  }

  void setProperty(String name, value) {
    build.assigned[name] = String.valueOf(value)
  }
}

class Variables { // environment { NAME = value }
  private final Map readable, values

  Variables(Map readable, Map values) {
    this.readable = readable
    this.values = values
  }

  def getProperty(String name) {
    if (!(name in readable)) {
      throw new Refused("environment: there is no $name")
    }
    return readable[name]
  }

  void setProperty(String name, value) { values[name] = String.valueOf(value) }
}

class Run { // RunWrapper
  protected Build build
  protected Map facts

  def getResult() { facts.result }

  def getDescription() { facts.description }

  def getFullDisplayName() { facts.name }

  def getPreviousBuild() { facts.previous ? new Run(facts: facts.previous) : null }

  void setDescription(String text) {
    if (build == null) {
      throw new Refused('the description of another build')
    }
    facts.description = text
  }

  def propertyMissing(String name) {
    throw new Refused("a build's $name")
  }

  def propertyMissing(String name, value) {
    throw new Refused("a build's $name")
  }
}

abstract class PipelineScript extends Script {
  private Build build

  void join(Build build, Map variables) { // a property of a script would be a variable of its binding
    this.build = build
    binding = new Binding(variables)
  }

  def pipeline(Closure body) { build.run(body) }

  def methodMissing(String name, arguments) { build.step(name, arguments as List) }

  def propertyMissing(String name) { throw new Refused("there is no $name") }
}

class Build {
  Map scenario // what happens: parameters, exit codes by stage, and so on
  PipelineScript script
  Map facts
  Map assigned = [:]
  Set assignable = [] // what the script itself sets in env
  Map environment = [:]
  String stage
  boolean agent = false, lost = false, declared = false
  List options = [], stages = [], steps = [], mails = []
  Set uses = ['workflow-aggregator']

  Map told() {
    [name: facts.name, result: facts.result ?: 'SUCCESS', description: facts.description, environment: environment,
      options: options, stages: stages, steps: steps, mails: mails, uses: uses as List]
  }

  // --- as ModelInterpreter does ---

  void run(Closure body) {
    declared = true
    def root = Block.once('pipeline', ['agent', 'options', 'environment', 'stages', 'post'], body)
    if (root.agent != 'none' || !root.stages) {
      throw new Refused('pipeline: agent none and stages have to be there')
    }
    def wrappers = Block.read('options', Known.STEPS.findAll { it.value.option }.keySet(), root.options)
    options = wrappers.collect { [name: it.name] + arguments(it.name, it.arguments) }
    environment = root.environment ? variables(root.environment) : [:]
    def all = Block.read('stages', ['stage'], root.stages).collect { declaredStage(it) }
    Throwable first = null
    def told = false
    try {
      inWrappers(options) {
        first = runStages(all, null, first)
        told = true
        first = runPost(root.post, first)
        if (first) {
          throw first
        }
      }
    } catch (Exception error) {
      first = first ?: error
    } finally {
      if (!told) {
        first = runPost(root.post, first)
      }
    }
    if (first) {
      worsen(resultOf(first))
    }
  }

  private Map variables(Closure body) {
    def found = [:]
    body.delegate = new Variables([params: script.params, env: script.env], found)
    body.resolveStrategy = Closure.DELEGATE_ONLY
    body()
    return found.findAll { it.value } // Jenkins takes an empty one away
  }

  private Map declaredStage(Map line) {
    def (name, body) = line.arguments
    def found = Block.once("stage $name", ['agent', 'steps', 'stages', 'post'], body)
    if ((found.steps == null) == (found.stages == null)) {
      throw new Refused("stage $name: either steps or stages")
    }
    def label = found.agent ? Block.once('agent', ['label'], found.agent).label : null
    def inner = found.stages ? Block.read('stages', ['stage'], found.stages).collect { declaredStage(it) } : null
    return [name: name, label: label, steps: found.steps, post: found.post, stages: inner]
  }

  private void inWrappers(List wrappers, Closure body) {
    if (wrappers && wrappers[0].name == 'lock' && scenario.interrupted == 'lock') {
      throw new Interrupted()
    }
    wrappers ? inWrappers(wrappers.drop(1), body) : body()
  }

  private Throwable runStages(List declared, Map parent, Throwable first) {
    declared.each { one ->
      try {
        runStage(one, first)
      } catch (Exception error) {
        worsen(resultOf(error))
        first = first ?: error
      }
    }
    return parent ? runPost(parent.post, first) : first
  }

  private void runStage(Map one, Throwable first) {
    stages << [name: one.name, skipped: first != null, agent: one.label, nested: one.stages != null]
    if (first) {
      one.stages?.each { runStage(it, first) }
      return
    }
    stage = one.name
    def outside = agent
    if (one.label) {
      if (scenario.interrupted == 'agent') {
        worsen('ABORTED')
        throw new Interrupted()
      }
      agent = true
    }
    try {
      def error = null
      if (one.stages) {
        error = runStages(one.stages, one, null)
      } else {
        try {
          runSteps(one.steps)
        } catch (Exception thrown) {
          worsen(resultOf(thrown))
          error = thrown
        }
        error = runPost(one.post, error)
      }
      if (error) {
        throw error
      }
    } finally {
      agent = outside
    }
  }

  private Throwable runPost(Closure post, Throwable first) {
    if (!post) {
      return first
    }
    def conditions = Block.once('post', ['always'], post)
    stage = 'post'
    try {
      runSteps(conditions.always)
    } catch (Exception error) {
      worsen(resultOf(error))
      first = first ?: error
    }
    return first
  }

  private void runSteps(Closure body) {
    body.delegate = script
    body.resolveStrategy = Closure.DELEGATE_ONLY
    body()
  }

  private static String resultOf(Throwable error) { error instanceof Interrupted ? 'ABORTED' : 'FAILURE' }

  private void worsen(String result) {
    facts.result = [facts.result ?: 'SUCCESS', result].max { Known.RESULTS.indexOf(it) }
  }

  // --- steps ---

  Map arguments(String name, List given) {
    def known = Known.STEPS[name]
    uses << known.plugin
    def needs = known.needs ?: [:]
    def values = given.findAll { !(it instanceof Closure) }
    def named = values.size() == 1 && values[0] instanceof Map ? values[0] : [:]
    if (!named && values) {
      if (values.size() != 1 || needs.size() != 1) {
        throw new Refused("$name: parameters without names")
      }
      named = [(needs.keySet()[0]): values[0]]
    }
    def types = needs + (known.takes ?: [:])
    named.each { key, value ->
      if (!types[key]?.isInstance(value)) {
        throw new Refused("$name: $key: $value")
      }
    }
    if (needs.keySet() - named.keySet()) {
      throw new Refused("$name: needs ${needs.keySet() - named.keySet()}")
    }
    return named.collectEntries { key, value -> [key, value instanceof CharSequence ? value.toString() : value] }
  }

  def step(String name, List given) {
    def known = Known.STEPS[name]
    def body = given ? given[-1] : null
    if (known == null) {
      throw new Refused("there is no step $name")
    }
    if ((known.body != null) != (body instanceof Closure)) {
      throw new Refused("$name: a block belongs to it, or does not")
    }
    def named = arguments(name, given)
    if (known.agent && !agent) {
      throw new Exception('Required context class hudson.FilePath is missing')
    }
    if (known.agent && lost) {
      throw new Exception('Unable to create live FilePath for spark')
    }
    if (known.body) {
      return body()
    }
    def done = [stage: stage, step: name] + named
    steps << done
    try {
      return "do_$name"(named)
    } catch (Exception error) {
      done.failed = true
      throw error
    }
  }

  def do_sh(Map named) {
    if (named.returnStdout) {
      if (scenario.report == 'hangs') {
        throw new Interrupted()
      }
      return (scenario.report ?: '') + '\n'
    }
    if (scenario.lost == stage) {
      lost = true
    }
    if (scenario.interrupted == stage || lost) {
      throw new Interrupted()
    }
    def code = scenario.codes[stage] ?: 0
    if (named.returnStatus) {
      return code
    }
    if (code) {
      throw new Aborted("script returned exit code $code")
    }
    return null
  }

  def do_echo(Map named) { null }

  def do_error(Map named) { throw new Aborted(named.message) }

  def do_unstable(Map named) { worsen('UNSTABLE') }

  def do_archiveArtifacts(Map named) { fails(named.artifacts) }

  def do_junit(Map named) { fails(named.testResults) }

  def do_emailext(Map named) {
    fails('mail')
    mails << named
  }

  private void fails(String what) {
    if (scenario.fails == what) {
      throw new Exception("cannot: $what")
    }
  }
}

// --- Requests ---

class Recorder {
  private final Map scripts = [:]

  private Script compiled(String text, Class base) {
    def key = [text, base]
    if (!scripts[key]) {
      def configuration = new CompilerConfiguration(scriptBaseClass: base.name)
      scripts[key] = new GroovyShell(Recorder.classLoader, new Binding(), configuration).parse(text).class
    }
    return scripts[key].newInstance()
  }

  def answer(Map request) {
    try {
      return this."${request.do}"(request)
    } catch (CompilationFailedException error) {
      return [refused: error.message]
    } catch (Refused error) {
      return [refused: error.message]
    }
  }

  def compile(Map request) {
    def unit = new CompilationUnit()
    unit.addSource('script.groovy', request.text)
    unit.compile(request.syntax ? Phases.CONVERSION : Phases.CLASS_GENERATION)
    return [:]
  }

  def jobs(Map request) {
    def script = compiled(request.text, JobScript)
    script.run()
    return [jobs: script.jobs, uses: Known.JOB_PLUGINS as List]
  }

  def build(Map request) {
    def script = compiled(request.text, PipelineScript)
    def build = new Build(scenario: request, script: script, facts: [name: request.name, previous: request.previous])
    build.assignable = (request.text =~ /\benv\.(\w+) =[^=]/).collect { it[1] } as Set
    script.join(build, [params: request.params, env: new Env(build: build),
      currentBuild: new Run(build: build, facts: build.facts)])
    script.run()
    if (!build.declared) {
      throw new Refused('no pipeline')
    }
    return build.told()
  }
}

def recorder = new Recorder()
System.in.eachLine('UTF-8') { line ->
  println(JsonOutput.toJson(recorder.answer(new JsonSlurper().parseText(line))))
}
