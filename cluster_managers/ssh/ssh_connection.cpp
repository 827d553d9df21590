#include "cluster_managers/ssh/ssh_connection.hpp"

#include "cluster_managers/ssh/dial.hpp"
#include "cluster_managers/ssh/jump.hpp"
#include "cluster_managers/ssh/remote_shell.hpp"
#include "runtime/base/address.hpp"
#include "runtime/base/log.hpp"

#include <muster/errors.hpp>

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <utility>

namespace muster::runtime::ssh {

namespace {

/// A setting of the session's; empty where it has none.
std::string setting(ssh_session session, ssh_options_e which) {
  char* value = nullptr;
  if (ssh_options_get(session, which, &value) != SSH_OK || value == nullptr) return {};
  std::string text = value;
  ssh_string_free_char(value);
  return text;
}

std::string home() {
  const char* const found = std::getenv("HOME");
  return found != nullptr ? found : "";
}

std::string with_home(const std::string& path) { return path.starts_with("~/") ? home() + path.substr(1) : path; }

std::string fingerprint_of(ssh_session session) {
  ssh_key key = nullptr;
  if (ssh_get_server_publickey(session, &key) != SSH_OK) return "unknown";
  const std::unique_ptr<ssh_key_struct, decltype(&ssh_key_free)> owned(key, ssh_key_free);
  unsigned char* hash = nullptr;
  std::size_t size = 0;
  if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &size) != 0) return "unknown";
  char* const text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, size);
  ssh_clean_pubkey_hash(&hash);
  const std::string fingerprint = text != nullptr ? text : "unknown";
  ssh_string_free_char(text);
  return std::string(ssh_key_type_to_char(ssh_key_type(key))) + " " + fingerprint;
}

std::string methods_in(int methods) {
  std::string names;
  for (const auto& [bit, name] :
       {std::pair(SSH_AUTH_METHOD_PUBLICKEY, "publickey"), std::pair(SSH_AUTH_METHOD_PASSWORD, "password"),
        std::pair(SSH_AUTH_METHOD_INTERACTIVE, "keyboard-interactive"),
        std::pair(SSH_AUTH_METHOD_HOSTBASED, "hostbased"), std::pair(SSH_AUTH_METHOD_GSSAPI_MIC, "gssapi-with-mic")}) {
    if ((methods & static_cast<int>(bit)) != 0) names += (names.empty() ? "" : ", ") + std::string(name);
  }
  return names.empty() ? "none" : names;
}

/// What it said has all been taken, and there will be no more.
bool is_over(ssh_channel channel) { return ssh_channel_is_eof(channel) != 0 || ssh_channel_is_closed(channel) != 0; }

}  // namespace

void SessionEnd::operator()(ssh_session session) const {
  ssh_disconnect(session);
  ssh_free(session);
}

std::string name_of(const Machine& machine) {
  const bool is_ipv6 = machine.host.find(':') != std::string::npos;
  return (machine.user.empty() ? "" : machine.user + "@") + (is_ipv6 ? "[" + machine.host + "]" : machine.host) +
         (machine.port == 0 ? "" : ":" + std::to_string(machine.port));
}

SshConnection::SshConnection(const Machine& machine, const SshOptions& options, Clock::time_point deadline,
                             std::stop_token stop, std::mutex& known_hosts)
    : name_(name_of(machine)), session_(ssh_new()) {
  if (!session_) throw Error("libssh has no memory left");
  ssh_set_counters(session_.get(), &counter_, nullptr);
  configure(machine, options);
  const std::string proxy = setting(session_.get(), SSH_OPTIONS_PROXYCOMMAND);
  if (const auto between = jump_host(proxy)) {
    SshOptions of_jump = options;
    of_jump.identity_file.clear();  // which is the host's; the other one's is in the configuration
    try {
      jump_ = std::make_unique<Jump>(*between, of_jump, deadline, stop, known_hosts, host_, port_);
    } catch (const Error& error) {
      throw Error("on the way there, at " + between->host + ": " + error.what());
    }
    socket_.emplace(jump_->take_socket());
  } else if (proxy.empty() || proxy == "none") {
    socket_.emplace(dial(host_, port_, deadline, stop));
  }
  if (socket_) {
    const int fd = socket_->lent();
    ssh_options_set(session_.get(), SSH_OPTIONS_FD, &fd);
  }
  const std::stop_callback on_stop(std::move(stop), [this] { abort(); });
  set_patience(deadline);
  if (ssh_connect(session_.get()) != SSH_OK)
    throw Error("no SSH connection to " + endpoint_of(host_, port_) + ": " + last_error());
  check_host_key(options, known_hosts);
  log_in(options.identity_file);
}

SshConnection::~SshConnection() = default;

/// Settings given here go over those in files, which therefore come first.
void SshConnection::configure(const Machine& machine, const SshOptions& options) {
  ssh_session const session = session_.get();
  const bool not_again = false;
  ssh_options_set(session, SSH_OPTIONS_PROCESS_CONFIG, &not_again);
  if (!home().empty()) ssh_options_set(session, SSH_OPTIONS_SSH_DIR, (home() + "/.ssh").c_str());
  if (ssh_options_set(session, SSH_OPTIONS_HOST, machine.host.c_str()) != SSH_OK)
    throw Error("\"" + machine.host + "\" is no host that SSH understands");
  if (ssh_options_parse_config(session, nullptr) != SSH_OK)
    throw Error("the SSH configuration (~/.ssh/config) can't be read: " + last_error());
  if (!machine.user.empty()) ssh_options_set(session, SSH_OPTIONS_USER, machine.user.c_str());
  if (machine.port != 0) ssh_options_set(session, SSH_OPTIONS_PORT, &machine.port);
  const int silent = SSH_LOG_NOLOG, yes = 1;
  ssh_options_set(session, SSH_OPTIONS_LOG_VERBOSITY, &silent);
  ssh_options_set(session, SSH_OPTIONS_NODELAY, &yes);
  if (!options.identity_file.empty())
    ssh_options_set(session, SSH_OPTIONS_ADD_IDENTITY, with_home(options.identity_file).c_str());
  host_ = setting(session, SSH_OPTIONS_HOST);
  unsigned port = 22;
  ssh_options_get_port(session, &port);
  port_ = static_cast<int>(port);
}

/// Of each single step.
void SshConnection::set_patience(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::seconds>(deadline - Clock::now()).count();
  const long patience = std::clamp<long>(left, 1, 3600);
  ssh_options_set(session_.get(), SSH_OPTIONS_TIMEOUT, &patience);
}

/// People write them with and without the kind of key before them, and padding after them.
void SshConnection::check_fingerprint(const std::vector<std::string>& expected) {
  const std::string shown = fingerprint_of(session_.get());
  const auto bare = [](std::string_view text) {
    text = text.substr(std::min(text.size(), text.rfind("SHA256:")));
    return text.substr(0, text.find_first_of("= \t"));
  };
  if (std::any_of(expected.begin(), expected.end(), [&](const auto& each) { return bare(each) == bare(shown); }))
    return;
  throw Error("the host shows the key " + shown + ", which is none of the " + std::to_string(expected.size()) +
              " in SshOptions::fingerprints. Somebody may stand in between. On the host, ssh-keygen -lf "
              "/etc/ssh/ssh_host_ed25519_key.pub shows what its key is.");
}

void SshConnection::check_host_key(const SshOptions& options, std::mutex& known_hosts_file) {
  if (!options.fingerprints.empty()) return check_fingerprint(options.fingerprints);
  const KnownHosts policy = options.known_hosts;
  if (policy == KnownHosts::Off) {
    log::warning("The key of host " + name_ + " is not checked (KnownHosts::Off): anybody may be at its other end");
    return;
  }
  const std::lock_guard lock(known_hosts_file);
  const auto state = ssh_session_is_known_server(session_.get());
  if (state == SSH_KNOWN_HOSTS_OK) return;
  const std::string key = "the host shows the key " + fingerprint_of(session_.get());
  const std::string file = setting(session_.get(), SSH_OPTIONS_KNOWNHOSTS);
  const std::string known_hosts = file.empty() ? "~/.ssh/known_hosts" : file;
  if (state == SSH_KNOWN_HOSTS_CHANGED || state == SSH_KNOWN_HOSTS_OTHER) {
    throw Error("its host key has changed: " + key + ", and " + known_hosts +
                " has another one for it. Somebody may stand in between. If the host was set up anew, remove the old "
                "key (ssh-keygen -R " +
                host_ + ") and add the new one.");
  }
  if (state == SSH_KNOWN_HOSTS_ERROR) throw Error("the known hosts can't be read: " + last_error());
  if (policy == KnownHosts::Strict) {
    throw Error("its host key is not known: " + key + ", and " + known_hosts +
                " has none for it. Check the key and add it (by ssh " + host_ +
                ", or ssh-keyscan), or use KnownHosts::AcceptNew.");
  }
  std::error_code ignored;
  std::filesystem::create_directories(home() + "/.ssh", ignored);
  if (ssh_session_update_known_hosts(session_.get()) != SSH_OK)
    throw Error("its host key can't be added to " + known_hosts + ": " + last_error());
  log::info("The key of host " + name_ + " is known from now on: " + fingerprint_of(session_.get()));
}

void SshConnection::log_in(const std::string& identity_file) {
  ssh_session const session = session_.get();
  int outcome = ssh_userauth_none(session, nullptr);
  if (outcome == SSH_AUTH_SUCCESS) return;
  const int methods = ssh_userauth_list(session, nullptr);
  if (outcome != SSH_AUTH_ERROR)
    outcome = identity_file.empty() ? ssh_userauth_publickey_auto(session, nullptr, nullptr)
                                    : log_in_with(with_home(identity_file));
  if (outcome == SSH_AUTH_SUCCESS) return;
  if (outcome == SSH_AUTH_ERROR) throw Error("the connection broke while logging in: " + last_error());
  const std::string tried = identity_file.empty() ? "the keys of the agent and of ~/.ssh" : "the key " + identity_file;
  throw Error("it refused to let " + setting(session, SSH_OPTIONS_USER) + " in with " + tried +
              " (it would take: " + methods_in(methods) +
              "). See that the public key is in ~/.ssh/authorized_keys there, and that the agent (ssh-add) has keys "
              "with a passphrase. Passwords are not asked for.");
}

/// With that key and no other; the agent's word for it where the file has a passphrase.
int SshConnection::log_in_with(const std::string& identity_file) {
  if (::access(identity_file.c_str(), R_OK) != 0) throw Error("there is no identity file " + identity_file);
  ssh_key key = nullptr;
  if (ssh_pki_import_privkey_file(identity_file.c_str(), nullptr, nullptr, nullptr, &key) != SSH_OK)
    return ssh_userauth_agent(session_.get(), nullptr);
  const std::unique_ptr<ssh_key_struct, decltype(&ssh_key_free)> owned(key, ssh_key_free);
  return ssh_userauth_publickey(session_.get(), nullptr, key);
}

Channel SshConnection::open() {
  Channel channel(ssh_channel_new(session_.get()));
  if (!channel || ssh_channel_open_session(channel.get()) != SSH_OK)
    throw Error("it starts no further command: " + last_error());
  return channel;
}

void SshConnection::start(ssh_channel channel, const char* command) const {
  if (ssh_channel_request_exec(channel, command) != SSH_OK) throw Error("it did not start a command: " + last_error());
}

void SshConnection::write(ssh_channel channel, std::string_view text) const {
  while (!text.empty()) {
    const int written = ssh_channel_write(channel, text.data(), static_cast<std::uint32_t>(text.size()));
    if (written <= 0) throw Error("the connection broke: " + last_error());
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

/// No more than the host's window has room for: libssh would wait, and take in nothing meanwhile. @returns how much
std::size_t SshConnection::send_some(ssh_channel channel, std::string_view input) const {
  constexpr std::size_t piece = std::size_t{1} << 18;
  const std::size_t size = std::min({input.size(), piece, std::size_t{ssh_channel_window_size(channel)}});
  if (size == 0) return 0;
  const int written = ssh_channel_write(channel, input.data(), static_cast<std::uint32_t>(size));
  if (written < 0 && !is_over(channel)) throw Error("the connection broke: " + last_error());
  return static_cast<std::size_t>(std::max(written, 0));
}

/// What came of the command's output. @returns whether anything did
bool SshConnection::take(ssh_channel channel, CommandResult& result) const {
  std::array<char, 4096> part{};
  bool took = false;
  for (const bool of_errors : {false, true}) {
    const int got = ssh_channel_read_nonblocking(channel, part.data(), part.size(), of_errors ? 1 : 0);
    if (got == SSH_ERROR) throw Error("the connection broke: " + last_error());
    if (got <= 0) continue;
    (of_errors ? result.errors : result.output).append(part.data(), static_cast<std::size_t>(got));
    took = true;
  }
  return took;
}

/// Until something comes.
void SshConnection::wait(Clock::time_point deadline) const {
  pollfd socket{descriptor(), POLLIN, 0};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  (void)::poll(&socket, 1, static_cast<int>(std::clamp<decltype(left)>(left, 0, 1000)));
}

std::string SshConnection::hear(ssh_channel channel, std::string_view last, Clock::time_point deadline) const {
  CommandResult said;
  while (said.output.find(last) == std::string::npos) {
    const std::uint64_t before = received();
    if (Clock::now() >= deadline) throw Error("it did not answer in time");
    const bool moved = take(channel, said);
    if (is_over(channel)) break;
    if (!moved && received() == before) wait(deadline);
  }
  return said.output;
}

CommandResult SshConnection::run(std::string_view script, Clock::time_point deadline, std::string_view input,
                                 const std::function<void(std::size_t)>& sent) {
  set_patience(deadline);
  const Channel channel = open();
  start(channel.get(), script_runner);
  write(channel.get(), std::string(script) + "\n");
  CommandResult result;
  bool all_sent = false;
  for (;;) {
    const std::uint64_t before = received();
    if (Clock::now() >= deadline)
      throw Error(all_sent ? "it did not answer in time" : "it did not take what was sent in time");
    bool moved = take(channel.get(), result);
    if (is_over(channel.get())) break;  // also one that leaves most of its input, as it fails
    if (const std::size_t size = send_some(channel.get(), input); size > 0) {
      if (sent) sent(size);
      input.remove_prefix(size);
      moved = true;
    }
    if (input.empty() && !std::exchange(all_sent, true)) ssh_channel_send_eof(channel.get());
    if (!moved && received() == before) wait(deadline);
  }
  result.status = ssh_channel_get_exit_status(channel.get());
  return result;
}

void SshConnection::abort() const noexcept {
  if (socket_) socket_->shut();
}

}  // namespace muster::runtime::ssh
