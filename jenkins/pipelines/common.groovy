
// What follows is common.groovy, which jobs/warehouse.groovy appends to every Jenkinsfile.

// Runs a stage's wrapper, and says of its exit code what the contract says. While it runs, and for good unless it ends
// with 0, the stage is among those of which a mail tells.
def check(Closure wrapper) {
  def before = env.TROUBLE ?: 'none'
  env.TROUBLE = before == 'none' ? env.STAGE_NAME : "${before}, ${env.STAGE_NAME}"
  def code = wrapper()
  if (code == 0) {
    env.TROUBLE = before
  } else if (code == 3) {
    unstable("${env.STAGE_NAME}: done, but some input was rejected or a mail is delayed (exit code 3)")
  } else {
    error("${env.STAGE_NAME}: exit code ${code}")
  }
}

// Keeps with the build what its ledger lines say. A build that left none has no report, and a report that cannot be
// made is no reason to call a build bad.
def report() {
  if (params.DRY_RUN) {
    return
  }
  try {
    timeout(time: 5, unit: 'MINUTES') {
      def line = sh(returnStdout: true, label: 'report', script:
        '/opt/warehouse/scripts/run_report.sh "$WAREHOUSE_RUN_ID" --into "$WORKSPACE/report" || true').trim()
      if (line) {
        currentBuild.description = line
        archiveArtifacts(artifacts: 'report/summary.html')
        // the exit codes have told good from bad already
        junit(testResults: 'report/checks.xml', skipMarkingBuildUnstable: true, skipPublishingChecks: true,
          keepTestNames: true)
      }
    }
  } catch (exception) { // not catchError: it takes the result of a timeout for the build's
    echo("No report: ${exception}")
  }
}

// Mails the operators where a build went otherwise than the one before. A dry run is no news, and nothing to compare
// with: that is why this does not stand in `post { changed }`.
def tell() {
  if (params.DRY_RUN) {
    currentBuild.description = 'dry run'
    return
  }
  def previous = currentBuild.previousBuild
  while (previous?.description == 'dry run') {
    previous = previous.previousBuild
  }
  def before = previous ? previous.result : 'SUCCESS'
  // what ended a build that was still waiting for the lock has not become its result yet
  def now = currentBuild.result ?: (env.TROUBLE ? 'SUCCESS' : 'ABORTED')
  if (!env.JENKINS_MAIL_TO || now == before) {
    return
  }
  def news = now == 'SUCCESS' ? 'back to normal' : now
  def stages = env.TROUBLE ?: 'none had begun: it waited for the warehouse, or for the agent'
  // email-ext fills in its token; the single quotes keep Groovy from it
  def log = now == 'SUCCESS' ? '' : 'The end of its log:\n\n${BUILD_LOG, maxLines=120}'
  try {
    timeout(time: 2, unit: 'MINUTES') {
      emailext(to: env.JENKINS_MAIL_TO, mimeType: 'text/plain',
        subject: "[warehouse] ${currentBuild.fullDisplayName}: ${news}",
        body: """${currentBuild.fullDisplayName}: ${news} (before: ${before})
${currentBuild.description ?: ''}
Stages that did not end well: ${stages}
${env.BUILD_URL}

${log}
""")
    }
  } catch (exception) {
    echo("No mail: ${exception}")
  }
}
