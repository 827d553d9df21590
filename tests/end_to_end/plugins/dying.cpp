#include <muster/muster.hpp>

#include <signal.h>
#include <unistd.h>

extern "C" {
int survivor() { return 7; }
/// Sends a call, and is dead before it can give its code.
void call_and_die(muster::Pid pid) {
  muster::remote_do([] { (void)survivor(); }, pid);
  (void)::kill(::getpid(), SIGKILL);
}
}
