// Hands the secret of the node `spark` to its agent, in the volume that only the two share. Runs at every start, after
// Configuration as Code has made the node and before anybody is let in.
import java.nio.file.Files
import java.nio.file.Paths
import java.nio.file.StandardCopyOption
import java.nio.file.attribute.PosixFilePermissions
import jenkins.model.Jenkins

def folder = Paths.get('/var/lib/jenkins-agent') // what is made in it belongs to its group, the agent's
def fresh = Files.createTempFile(folder, '.secret', '')
Files.write(fresh, Jenkins.get().getComputer('spark').jnlpMac.getBytes('US-ASCII'))
Files.setPosixFilePermissions(fresh, PosixFilePermissions.fromString('rw-r-----'))
Files.move(fresh, folder.resolve('secret'), StandardCopyOption.ATOMIC_MOVE)
