// Workers that connect to the master by themselves.

#include "runtime/base/address.hpp"
#include "runtime/base/interfaces.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/random.hpp"
#include "runtime/cluster/launcher.hpp"
#include "runtime/cluster/worker_environment.hpp"

#include <algorithm>

namespace muster::runtime {

class Launcher::OpenInvitation final : public Invitation {
 public:
  OpenInvitation(std::shared_ptr<Door> door, CallBack call_back, std::string record)
      : door_(std::move(door)), call_back_(std::move(call_back)), record_(std::move(record)) {}
  ~OpenInvitation() override {
    Invited over;  // may hold the last of its manager, which holds other invitations: ends without the lock
    const std::lock_guard lock(door_->mutex);
    if (door_->launcher != nullptr) over = door_->launcher->withdraw(call_back_.ticket);
  }
  std::string start_record() const override { return record_; }
  std::vector<std::string> endpoints() const override { return call_back_.endpoints; }

 private:
  const std::shared_ptr<Door> door_;
  const CallBack call_back_;
  const std::string record_;
};

std::unique_ptr<Invitation> Launcher::invite(std::shared_ptr<LaunchContext> context, const AddprocsOptions& options,
                                             const InviteOptions& invitation, Called called) {
  const std::vector<std::string> interfaces = addresses_of_this_host();
  const std::string alone = interfaces.empty() ? "127.0.0.1" : "0.0.0.0";
  const std::string bind = invitation.bind_address.empty() ? alone : invitation.bind_address;
  const int port = transport_.lane().listen(bind, invitation.port);
  std::vector<std::string> addresses = invitation.addresses;
  if (bind == "0.0.0.0" || bind == "::")
    addresses.insert(addresses.end(), interfaces.begin(), interfaces.end());
  else
    addresses.push_back(bind);
  CallBack call_back;
  for (const std::string& address : addresses) {
    const std::string endpoint = endpoint_of(address, port);
    const bool known =
        std::find(call_back.endpoints.begin(), call_back.endpoints.end(), endpoint) != call_back.endpoints.end();
    const bool other_family = bind == "0.0.0.0" && address.find(':') != std::string::npos;
    if (!known && !other_family) call_back.endpoints.push_back(endpoint);
  }
  call_back.own_endpoint = cluster_.self_member().endpoint;
  call_back.ticket = random_token(32);
  call_back.asked = invitation.asked;
  call_back.leaves_on_sigterm = invitation.leaves_on_sigterm;
  std::string record = settings_.start_record(options.launch_timeout, call_back);
  {
    const std::lock_guard lock(mutex_);
    invited_[call_back.ticket] = {std::move(context), std::move(called)};
  }
  return std::make_unique<OpenInvitation>(door_, std::move(call_back), std::move(record));
}

Launcher::Invited Launcher::withdraw(const std::string& ticket) {
  const std::lock_guard lock(mutex_);
  auto found = invited_.extract(ticket);
  return found.empty() ? Invited{} : std::move(found.mapped());
}

Launcher::Invited Launcher::invited_by(const std::string& ticket) const {
  const std::lock_guard lock(mutex_);
  const auto found = invited_.find(ticket);
  if (found == invited_.end()) throw HandshakeError("The invitation that this worker came by is over");
  return found->second;
}

void Launcher::on_knock(const std::shared_ptr<Link>& link, Knock&& knock) {
  const Invited invited = invited_by(knock.ticket);
  {
    const std::lock_guard lock(mutex_);
    callers_[link->id] = link;
  }
  Caller caller = std::move(knock.caller);
  caller.id = link->id;
  log::debug("A worker on host " + caller.host + " has called");
  steward_.post([this, link, invited, caller = std::move(caller)]() mutable {
    try {
      invited.called(*invited.context, std::move(caller));
    } catch (const std::exception& error) {
      log::warning(std::string("A worker that called was not taken in: ") + error.what());
      cluster_.refuse(link, error);
    }
  });
}

// -- muster-worker, which fetches the program first -------------------------------------------------------------------

/// Files are read on a thread of their own.
void Launcher::on_program_request(const std::shared_ptr<Link>& link, ProgramRequest&& request) {
  const Invited invited = invited_by(request.ticket);
  crew_.run("muster-program", [this, link, invited, request = std::move(request)] {
    try {
      give_program(*link, request, *invited.context);
    } catch (const std::exception& error) {
      log::warning(std::string("The program can't be given to who asked for it: ") + error.what());
      cluster_.refuse(link, error);
    }
  });
}

void Launcher::give_program(Link& link, const ProgramRequest& request, const LaunchContext& context) {
  const std::vector<ListedFile>& files = program_files();
  ProgramPart part{.file = request.file, .offset = request.offset, .proof = {}, .contents = {}};
  if (request.file == list_of_files) {
    const std::vector<std::string> command = context.worker_command();
    const detail::Payload list = encode(ProgramList{.system = system_here(),
                                                    .arguments = {command.begin() + 1, command.end()},
                                                    .environment = added_environment(context.options()),
                                                    .files = files});
    part.contents.assign(list.bytes.data(), list.bytes.data() + list.bytes.size());
  } else {
    part.contents = read_program_part(files, request.file, request.offset);
  }
  seal(part, request.nonce, cluster_.cookie());
  transport_.send(link, Header{.kind = MessageKind::program}, encode(part));
}

/// Which takes its time, the first time.
const std::vector<ListedFile>& Launcher::program_files() {
  const std::lock_guard lock(program_mutex_);
  if (program_files_.empty()) program_files_ = list_program_files(settings_.program.front());
  return program_files_;
}

void Launcher::greet_caller(const Record& record) {
  std::shared_ptr<Link> link;
  {
    const std::lock_guard lock(mutex_);
    const auto found = callers_.extract(record->config.caller);
    if (!found.empty()) link = found.mapped();
  }
  if (!link) {
    const std::string message = "It had called, and its connection was lost before it was taken in";
    fail(record, LaunchCause::handshake, message, std::make_exception_ptr(HandshakeError(message)));
    return;
  }
  say_hello(record, [&] { return link; });
  // Its addprocs may have returned long ago.
  steward_.after(record->options.launch_timeout, [this, weak = std::weak_ptr(record)] {
    if (const Record late = weak.lock()) fail_late(late);
  });
}

}  // namespace muster::runtime
