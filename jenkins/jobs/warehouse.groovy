// Every pipeline of the warehouse. Configuration as Code runs this at each start of Jenkins, and takes from a job what
// is not said here: that is why parameters and triggers do not stand in the Jenkinsfiles.

def folder = new File(System.getenv('WAREHOUSE_PIPELINES') ?: '/usr/share/jenkins/warehouse/pipelines')
def local = 'TZ=' + (System.getenv('WAREHOUSE_TIMEZONE') ?: 'Europe/London') + '\n'
def windows = 'TZ=UTC\n' // landing windows are UTC, in summer too

def from = 'Only windows and days from this time on (UTC), such as 2011-01-31 or 2011-01-31T08:00. Empty: no limit.'
def until = 'Only windows that end and days that begin by this time (UTC), such as 2011-01-31T08:00. Empty: now.'
def dry = 'Only say what would be done. Nothing is changed, no mail is sent.'
def unused = 'Means nothing to this pipeline.'
def jobs = ['all', 'ingest-products', 'ingest-countries', 'ingest-transactions', 'gold', 'star', 'baselines', 'detect',
  'alerts', 'maintenance']

def pipelines = [
  [name: 'transactions', cron: windows + '20 0-23/4 * * *', from: from, until: until, dry: dry,
    does: 'Transactions that landed: ingest, Gold, star schema, anomalies, alerts. A run takes all that is pending.'],
  [name: 'masters', cron: local + '0 6 * * *', from: from, until: until, dry: dry,
    does: 'Product and country snapshots that landed, and what they change in Gold and the star schema.'],
  [name: 'readiness', cron: local + '0 10 * * *', from: unused, dry: 'No mail is sent.',
    until: 'What could be said at this time (UTC), such as 2011-01-31T10:00. Empty: now.',
    does: 'Red where a view is not fresh by the deadline.'],
  [name: 'baselines', cron: local + '0 3 1 * *', from: unused, dry: dry,
    until: 'By the sales before this time (UTC), such as 2011-01-31. Empty: now.',
    does: 'What is typical of each product, computed anew; resolved cases go to the archive.'],
  [name: 'maintenance', cron: local + '0 2 * * 0', from: unused, until: unused, dry: dry,
    does: 'Small files are compacted, old snapshots expire, resolved cases go to the archive.'],
  [name: 'backup', cron: local + '30 3 * * *', from: unused, until: unused, dry: dry,
    does: 'Back-up of Gold and of the metastore.'],
  [name: 'setup', from: unused, until: unused, dry: dry,
    does: 'Creates or upgrades the warehouse. With RESET it destroys all that is there first; the landing zone stays.'],
  [name: 'rerun', from: from, until: until, dry: dry,
    does: 'Any job by hand, for any range. all: what is pending from ingest to alerts, in order.'],
]

pipelines.each { pipeline ->
  pipelineJob(pipeline.name) {
    description(pipeline.does)
    parameters {
      if (pipeline.name == 'rerun') {
        choiceParam('JOB', jobs, 'What to run. FROM, UNTIL and REPLACE count where the job takes them.')
      }
      stringParam('FROM', '', pipeline.from)
      stringParam('UNTIL', '', pipeline.until)
      if (pipeline.name == 'rerun') {
        booleanParam('REPLACE', false, 'Let loaded files whose bytes have changed take their own place.')
      }
      if (pipeline.name == 'setup') {
        stringParam('RESET', '', 'To destroy Bronze, the star schema and Gold: the name of Gold\'s database.')
      }
      booleanParam('DRY_RUN', false, pipeline.dry)
    }
    logRotator {
      daysToKeep(92)
    }
    properties {
      disableConcurrentBuilds()
      if (pipeline.cron) {
        pipelineTriggers {
          triggers {
            cron {
              spec(pipeline.cron)
            }
          }
        }
      }
    }
    definition {
      cps {
        script(new File(folder, "${pipeline.name}.Jenkinsfile").text + new File(folder, 'common.groovy').text)
        sandbox(true)
      }
    }
  }
}
