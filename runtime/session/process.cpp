#include "runtime/session/process.hpp"

#include "runtime/base/host_name.hpp"
#include "runtime/base/log.hpp"
#include "runtime/cluster/host_identity.hpp"
#include "runtime/code/code.hpp"

namespace muster::runtime {

namespace {

/// Items of a stream that are received in a row, though the first may be what somebody waits for.
constexpr int most_items_at_once = 16;

std::atomic<Process*> session_process{nullptr};

Member member_of(const ProcessSettings& settings) {
  Member self;
  self.pid = settings.master ? 1 : 0;
  self.endpoint = settings.lane->endpoint();
  self.host = host_name();
  self.host_identity = host_identity();
  return self;
}

}  // namespace

Process* current_process_or_null() { return session_process.load(std::memory_order_acquire); }

Process& current_process() {
  if (Process* process = current_process_or_null()) return *process;
  throw NoSession(
      "There is no muster session. Write\n"
      "    int main(int argc, char** argv) {\n"
      "      muster::Session session(argc, argv);\n"
      "as the first thing in main, and use muster while it lives.");
}

void set_session_process(Process* process) {
  if (process == nullptr) {
    set_module_source(nullptr);
    session_process.store(nullptr, std::memory_order_release);
    return;
  }
  Process* none = nullptr;
  if (!session_process.compare_exchange_strong(none, process, std::memory_order_acq_rel))
    throw std::logic_error("muster: this process has a session already; one at a time");
  set_module_source(&process->calls().module_source());
}

Process::Process(ProcessSettings settings) : executor_(1, settings.lane->spin()) {
  const Member self = member_of(settings);
  transport_ =
      std::make_unique<Transport>(std::move(settings.lane), static_cast<TransportSink&>(*this), settings.transport);
  Cluster::Events events;
  events.joined = [this, tell = settings.on_joined](const ClusterFacts& facts) {
    executor_.set_slots(facts.threads);
    log::set_process(pid());
    beat(facts.heartbeat_interval, facts.heartbeat_timeout);
    if (tell) tell();
  };
  events.changed = [this](Pid gone) {
    if (gone != 0) {
      kept_functions_.process_gone(gone);
      handouts_.process_gone(gone);
    }
    pools_.members_changed();
    changes_.tell();
  };
  if (!settings.master) {
    events.heard_added = [this](Pid pid) { life_callbacks_.added(pid); };
    events.heard_removed = [this](const WorkerExit& exit) { life_callbacks_.removed(exit); };
  }
  if (settings.on_not_reached)
    events.handshake_lost = [tell = settings.on_not_reached](const auto&, const auto& reason) { tell(reason); };
  events.turned_away = settings.on_turned_away;
  events.master_lost = settings.on_master_lost;
  events.asked_to_exit = settings.on_exit_request;
  if (settings.master) {
    events.master_handshake = [this](const Incoming& message) { launcher_->on_handshake(message); };
    events.handshake_lost = [this](const auto& link, const auto& reason) {
      launcher_->on_handshake_lost(link, reason);
    };
    events.knocked = [this](const auto& link, Knock&& knock) { launcher_->on_knock(link, std::move(knock)); };
    events.program_asked = [this](const auto& link, ProgramRequest&& request) {
      launcher_->on_program_request(link, std::move(request));
    };
    events.worker_lost = [this](Pid pid, const std::string& reason) { launcher_->on_worker_lost(pid, reason); };
  }
  cluster_ = std::make_unique<Cluster>(ClusterSettings{.cookie = settings.cookie, .self = self}, *transport_, *steward_,
                                       std::move(events));
  calls_ = std::make_unique<Calls>(self.pid, *transport_, executor_, *cluster_);
  cluster_->set_calls(*calls_);
  calls_->set_quick(Handouts::quick_calls());
  if (settings.master) {
    log::set_process(1);
    LauncherSettings launcher;
    launcher.program = {program_path()};
    launcher.heartbeat_interval = settings.heartbeat_interval;
    launcher.heartbeat_timeout = settings.heartbeat_timeout;
    launcher.start_record = settings.start_record;
    launcher.worker_output = settings.worker_output;
    launcher_ =
        std::make_unique<Launcher>(std::move(launcher), *cluster_, *calls_, *transport_, *steward_, life_callbacks_);
    launcher_->set_initiation([this](Pid pid, bool may_wait) { return everywhere_.initiate(*calls_, pid, may_wait); });
    beat(settings.heartbeat_interval, settings.heartbeat_timeout);
  }
  executor_.start(*this);
}

Process::~Process() { stop(); }

void Process::stop() {
  if (std::exchange(stopped_, true)) return;
  if (launcher_) launcher_->remove_all(std::chrono::seconds(2));
  steward_->cancel(heartbeat_.load());
  calls_->fail_everything(std::make_exception_ptr(NoSession("The session ended before the value came")));
  calls_->interrupt_here();
  cluster_->stop();
  executor_.stop();
  calls_->anchor()->release();
  if (launcher_)
    launcher_->stop();
  else
    life_callbacks_.stop();
  steward_.reset();  // its callbacks use all that follows
  launcher_.reset();
}

Launcher& Process::launcher() {
  if (!launcher_) throw std::logic_error("Only process 1 can add and remove workers");
  return *launcher_;
}

void Process::beat(std::chrono::nanoseconds interval, std::chrono::nanoseconds timeout) {
  heartbeat_ = steward_->every(interval, [this, interval, timeout] { transport_->keep_alive(interval, timeout); });
}

void Process::on_message(Incoming message) {
  if (message.header.kind >= MessageKind::heartbeat)
    calls_->on_message(std::move(message));
  else if (!message.link->ending)
    cluster_->on_message(std::move(message));
}

void Process::on_behind(Link& link) { cluster_->tell_news(link); }

void Process::on_lost(const std::shared_ptr<Link>& link, const std::string& reason) { cluster_->on_lost(link, reason); }

bool Process::drain(int most) {
  const bool any = transport_->receive_some(most);
  // Who waits for an item gets the next ones without waiting, where they are here already.
  for (int more = 0; more < most_items_at_once && calls_->take_item_came(); ++more) (void)transport_->receive_some(1);
  if (calls_->notes_waiting()) calls_->flush_notes();
  return any;
}

}  // namespace muster::runtime
