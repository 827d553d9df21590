// Hosts that start no worker, and why.
#include "ssh_workers.hpp"

#include <gmock/gmock.h>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

// catalogue: 31
TEST(Ssh, AHostThatIsNoneIsAnError) {
  const LaunchFailure failure = failure_of({"no.such.host.invalid"});
  EXPECT_EQ(failure.where, "no.such.host.invalid");
  EXPECT_EQ(failure.cause, LaunchCause::not_started);
  EXPECT_THAT(failure.message, HasSubstr("there is no host"));
}

TEST(Ssh, AHostWithoutAServerIsAnError) {
  EXPECT_THAT(failure_of({lab->network("subnet") + ".11:23"}).message, HasSubstr("nobody answers at"));
  const auto before = std::chrono::steady_clock::now();
  const LaunchFailure silent = failure_of({lab->network("subnet") + ".99"}, {.launch_timeout = 2s});
  EXPECT_THAT(silent.message, HasSubstr("nobody answers at"));
  EXPECT_LT(std::chrono::steady_clock::now() - before, 2s + patience / 3);
}

// catalogue: 32
TEST(Ssh, OneOfSeveralIsReportedWithThoseThatJoined) {
  try {
    (void)addprocs({"h1", "no.such.host.invalid", "h2"});
    FAIL() << "nothing was thrown";
  } catch (const LaunchError& error) {
    EXPECT_EQ(error.failures().size(), 1U);
    EXPECT_EQ(error.joined().size(), 2U);
    rmprocs(error.joined());
  }
}

TEST(Ssh, AnUnknownHostKeyIsRefusedUnlessNewOnesAreAccepted) {
  const ChangedFile known_hosts(lab->known_hosts(), "");
  EXPECT_THAT(failure_of({"h1"}).message,
              AllOf(HasSubstr("is not known"), HasSubstr("SHA256:"), HasSubstr("KnownHosts::AcceptNew")));
  EXPECT_EQ(known_hosts.text(), "");
  {
    const SshWorkers one({"h1"}, {.known_hosts = KnownHosts::AcceptNew});
  }
  EXPECT_THAT(known_hosts.text(), HasSubstr("ssh-ed25519"));
  {
    const SshWorkers one({"h1"});
  }
}

TEST(Ssh, AChangedHostKeyIsRefused) {
  const std::string stranger = shell("cut -d' ' -f1,2 " + lab->key("stranger.pub")).output;
  const ChangedFile known_hosts(lab->known_hosts(), lab->network("subnet") + ".11 " + stranger);
  for (const KnownHosts policy : {KnownHosts::Strict, KnownHosts::AcceptNew})
    EXPECT_THAT(failure_of({"h1"}, {.known_hosts = policy}).message, HasSubstr("has changed"));
  const SshWorkers one({"h1"}, {.known_hosts = KnownHosts::Off});
}

TEST(Ssh, AFingerprintThatIsGivenIsTheOnlyOneAccepted) {
  const ChangedFile known_hosts(lab->known_hosts(), "");
  const auto fingerprint_of = [](const std::string& name) {
    const std::string said = shell("ssh-keygen -lf " + lab->key(name)).output;  // 256 SHA256:... h1 (ED25519)
    return said.substr(4, said.find(' ', 4) - 4);
  };
  const std::string right = fingerprint_of("host_h1.pub"), wrong = fingerprint_of("stranger.pub");
  for (const std::string& written : {right, "ssh-ed25519 " + right, right + "="})
    const SshWorkers one({"h1"}, {.fingerprints = {wrong, written}});
  EXPECT_EQ(known_hosts.text(), "") << "nothing is written down";
  for (const KnownHosts policy : {KnownHosts::Strict, KnownHosts::AcceptNew, KnownHosts::Off}) {
    EXPECT_THAT(failure_of({"h1"}, {.known_hosts = policy, .fingerprints = {wrong}}).message,
                AllOf(HasSubstr("shows the key ssh-ed25519 " + right), HasSubstr("SshOptions::fingerprints")));
  }
  EXPECT_THROW(SshManager({"h1"}, {.fingerprints = {"MD5:00"}}), std::invalid_argument);
}

TEST(Ssh, AKeyThatTheHostDoesNotTakeIsAnError) {
  EXPECT_THAT(failure_of({"h1"}, {.identity_file = lab->key("stranger")}).message,
              AllOf(HasSubstr("refused to let root in"), HasSubstr("publickey"), HasSubstr("authorized_keys")));
  EXPECT_THAT(failure_of({"h1"}, {.identity_file = lab->key("none")}).message, HasSubstr("there is no identity file"));
  EXPECT_THAT(failure_of({"nobody@h1"}).message, HasSubstr("refused to let nobody in"));
}

TEST(Ssh, AKeyWithAPassphraseIsTheAgents) {
  const std::string locked = lab->key("locked");
  EXPECT_THAT(failure_of({"h1"}, {.identity_file = locked}).message, HasSubstr("refused to let root in"));
  const std::string socket = lab->directory() + "/agent";
  const std::string ask = lab->directory() + "/ask";
  std::ofstream(ask) << "#!/bin/sh\necho a passphrase\n";
  std::filesystem::permissions(ask, std::filesystem::perms::owner_all);
  const ShellResult agent = shell("ssh-agent -a " + socket);
  ASSERT_EQ(agent.status, 0) << agent.output;
  const std::string pid = agent.output.substr(agent.output.find("SSH_AGENT_PID=") + 14);
  ::setenv("SSH_AUTH_SOCK", socket.c_str(), 1);
  const ShellResult added = shell("SSH_ASKPASS_REQUIRE=force SSH_ASKPASS=" + ask + " ssh-add " + locked);
  EXPECT_EQ(added.status, 0) << added.output;
  {
    const SshWorkers one({"h1"}, {.identity_file = locked});
  }
  ::unsetenv("SSH_AUTH_SOCK");
  ::kill(std::stoi(pid), SIGTERM);
}

// catalogue: 60
TEST(Ssh, AProgramThatIsNotThereIsAnError) {
  const LaunchFailure failure = failure_of({"h1"}, {.exename = "/no/such/program"});
  EXPECT_THAT(failure.message, AllOf(HasSubstr("there is no program /no/such/program"), HasSubstr("h1")));
  EXPECT_THAT(failure_of({"h1"}, {.dir = "/no/such/directory"}).message,
              HasSubstr("there is no directory /no/such/directory"));
}

TEST(Ssh, AnotherBuildIsAnError) {
  const LaunchFailure failure = failure_of({"h1"}, {.exename = MUSTER_OTHER_PROGRAM});
  EXPECT_EQ(failure.cause, LaunchCause::handshake);
  EXPECT_THROW(std::rethrow_exception(failure.error), CodeMismatch) << failure.message;
  EXPECT_EQ(failure.where, "h1");
}

TEST(Ssh, AProgramThatIsNoWorkerIsAnError) {
  const LaunchFailure failure = failure_of({"h1"}, {.exename = "/bin/false"});
  EXPECT_EQ(failure.cause, LaunchCause::exited);
  EXPECT_EQ(failure.exit_status, 1);
  EXPECT_EQ(failure.where, "h1");
  const LaunchFailure silent = failure_of({"h1"}, {.exename = "/bin/sleep", .exeflags = {"60"}, .launch_timeout = 3s});
  EXPECT_THAT(silent.cause, AnyOf(LaunchCause::no_address_line, LaunchCause::exited)) << silent.message;
}

}  // namespace
}  // namespace muster::test
