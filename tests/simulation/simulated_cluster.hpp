/// @file
/// A whole cluster in one program: the master and its workers as simulated processes, and what becomes of them. The
/// master's part follows Launcher step by step (greeting, listing, exit statuses, patience), which needs real
/// processes.
#pragma once

#include "runtime/cluster/handshake.hpp"
#include "tests/simulation/simulated_process.hpp"

#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace muster::simulation {

class SimulatedCluster {
 public:
  struct Options {
    std::uint64_t seed = 1;
    bool traced = false;
    Topology topology = Topology::all_to_all;
    bool lazy = true;
    int threads = 1;
    runtime::TransportOptions transport = {};
  };

  explicit SimulatedCluster(const Options& options) : around_(options.seed, options.traced), options_(options) {
    runtime::Cluster::Events events;
    events.master_handshake = [this](const runtime::Incoming& message) { on_handshake(message); };
    events.handshake_lost = [this](const auto& link, const std::string& reason) {
      if (auto found = greeted_.extract(link->id); !found.empty()) conclude_soon(*found.mapped(), reason);
    };
    events.worker_lost = [this](Pid pid, const std::string& reason) { on_worker_lost(pid, reason); };
    events.changed = [this](Pid) { members_changed(1); };
    processes_[1] = std::make_unique<SimulatedProcess>(around_, 1, options.transport, std::move(events));
    master().cluster().set_topology(options.topology, options.lazy);
  }
  SimulatedCluster(const SimulatedCluster&) = delete;
  SimulatedCluster& operator=(const SimulatedCluster&) = delete;
  virtual ~SimulatedCluster() {
    around_.time.clear();
    for (auto& [pid, process] : processes_) process->end();
    around_.time.clear();
  }

  Random& random() { return around_.random; }
  Timeline& time() { return around_.time; }
  Trace& trace() { return around_.trace; }
  Surroundings& around() { return around_; }
  SimulatedProcess& master() { return *processes_.at(1); }
  SimulatedProcess* find(Pid pid) {
    const auto found = processes_.find(pid);
    return found == processes_.end() ? nullptr : found->second.get();
  }
  const std::map<Pid, std::unique_ptr<SimulatedProcess>>& processes() const { return processes_; }

  /// Those that live and belong to the cluster, as the master knows it.
  std::vector<Pid> members() {
    std::vector<Pid> all;
    for (const Pid pid : master().cluster().procs())
      if (processes_.at(pid)->alive()) all.push_back(pid);
    return all;
  }
  /// Whether it is dead, or was told to go.
  bool ending(Pid pid) const {
    const auto found = processes_.find(pid);
    return found != processes_.end() && (!found->second->alive() || (pid != 1 && records_.at(pid).expected));
  }
  std::size_t deaths() const { return deaths_; }
  int cuts() const { return cuts_; }

  /// Starts a worker. @returns its pid
  Pid add() {
    const Pid pid = ++last_pid_;
    runtime::Cluster::Events events;
    events.master_lost = [this, pid](const std::string&) { kill(pid); };
    events.asked_to_exit = [this, pid] { leave(pid); };
    events.changed = [this, pid](Pid) { members_changed(pid); };
    processes_[pid] = std::make_unique<SimulatedProcess>(around_, pid, options_.transport, std::move(events));
    Record& record = records_[pid];
    record.pid = pid;
    around_.trace.say(1, "starts process ", pid);
    master().enter_after(around_.delay(), [this, &record] { greet(record); });
    return pid;
  }
  void kill(Pid pid) {
    SimulatedProcess* const process = find(pid);
    if (process == nullptr || !process->alive()) return;
    process->die();
    ++deaths_;
    if (pid == 1) {  // workers that never heard of it wait for a hello in vain
      for (const auto& [other, worker] : processes_)
        if (other != 1 && worker->cluster().self() == 0)
          around_.time.after(std::chrono::seconds(60), [this, dead = other] { kill(dead); });
      return;
    }
    master().enter_after(around_.random.between(Nanoseconds(0), std::chrono::milliseconds(200)), [this, pid] {
      Record& record = records_.at(pid);
      around_.trace.say(1, "hears that the program of process ", pid, " has ended");
      record.process_ended = true;
      consider(record);
      conclude_soon(record, "its process has ended");
    });
  }
  /// As rmprocs.
  void remove(Pid pid) {
    master().enter([this, pid] {
      const auto found = records_.find(pid);
      if (found == records_.end() || found->second.stage != Stage::listed) return;
      around_.trace.say(1, "asks process ", pid, " to leave");
      found->second.stage = Stage::leaving;
      found->second.expected = true;
      master().cluster().send(pid, runtime::MessageKind::exit);
      master().enter_after(std::chrono::seconds(2), [this, pid] { kill(pid); });
    });
  }
  /// @returns whether they were connected
  bool cut(Pid a, Pid b) {
    const int count = processes_.at(a)->lane().cut(processes_.at(b)->lane());
    if (count > 0) around_.trace.say(0, "the link of processes ", a, " and ", b, " is cut");
    if (a != 1 && b != 1) cuts_ += count;  // a worker cut off from the master ends
    return count > 0;
  }

  /// What went wrong, the first of it; empty: nothing.
  const std::string& failure() const { return failure_; }
  template <class... Parts>
  void fail(const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    if (failure_.empty()) failure_ = text.str();
    around_.trace.say(0, "FAILED: ", text.str());
  }

 protected:
  virtual void members_changed(Pid /*at*/) {}
  /// Looks at what must hold once nothing happens any more.
  void check_members() {
    const auto expected = members();
    if (!master().alive()) return;
    if (expected != master().cluster().procs()) fail("the master still lists processes that are dead");
    for (const auto& [pid, process] : processes_) {
      if (!process->complaint().empty()) fail("process ", pid, " was sent something invalid: ", process->complaint());
      if (!process->alive() || pid == 1) continue;
      if (records_.at(pid).stage != Stage::listed) fail("process ", pid, " lives, and was never listed");
      if (process->cluster().procs() != expected)
        fail("process ", pid, " knows ", process->cluster().procs().size(), " members, where there are ",
             expected.size());
    }
  }

 private:
  enum class Stage { starting, greeted, welcomed, listed, leaving, gone };
  struct Record {
    Pid pid = 0;
    Stage stage = Stage::starting;
    bool failed = false, expected = false, process_ended = false;
    std::shared_ptr<runtime::Link> link;
    runtime::Nonce nonce{};
    runtime::Member member;
  };

  // -- the master's part: see launcher_start.cpp
  void greet(Record& record) {
    if (record.failed || record.stage != Stage::starting) return;
    auto& cluster = master().cluster();
    runtime::Hello hello;
    hello.joins = true;
    hello.from = cluster.self_member();
    hello.to = record.pid;
    hello.facts.members = {hello.from};
    hello.facts.topology = cluster.topology();
    hello.facts.lazy = cluster.lazy();
    hello.facts.threads = options_.threads;
    hello.facts.heartbeat_interval = std::chrono::seconds(1);
    hello.facts.heartbeat_timeout = std::chrono::seconds(10);
    runtime::seal(hello, cluster.cookie());
    record.stage = Stage::greeted;
    record.nonce = hello.nonce;
    record.link = master().transport().dial(processes_.at(record.pid)->lane().endpoint());
    greeted_[record.link->id] = &record;
    master().transport().send(*record.link, runtime::Header{.kind = runtime::MessageKind::hello}, encode(hello));
  }
  void on_handshake(const runtime::Incoming& message) {
    const auto found = greeted_.extract(message.link->id);
    if (found.empty()) throw SerializationError("An answer to a greeting that nobody sent");
    Record& record = *found.mapped();
    if (message.header.kind == runtime::MessageKind::refuse) {
      fail("process ", record.pid, " refused to join: ", runtime::decode_refuse(message.payload.bytes.bytes()).text);
      return;
    }
    auto welcome = runtime::decode_welcome(message.payload.bytes.bytes());
    runtime::verify(welcome, record.nonce, master().cluster().cookie());
    if (record.failed) return;
    record.stage = Stage::welcomed;
    record.member = std::move(welcome.self);
    record.member.pid = record.pid;
    master().cluster().linked(record.member, message.link);
    // Initiation may take its time.
    master().enter_after(around_.random.chance(50) ? Nanoseconds(0) : around_.delay(),
                         [this, &record] { list(record); });
  }
  void list(Record& record) {
    if (record.failed || record.stage != Stage::welcomed) return;
    around_.trace.say(1, "lists process ", record.pid);
    record.stage = Stage::listed;
    master().cluster().list(record.member);
    consider(record);
  }
  void give_up(Record& record) {
    if (record.failed || record.stage >= Stage::listed) return;
    around_.trace.say(1, "gives up the start of process ", record.pid);
    record.failed = record.expected = true;
    if (record.link) {
      greeted_.erase(record.link->id);
      master().transport().close(record.link);
    }
    kill(record.pid);
    consider(record);
  }

  // -- see launcher_end.cpp
  void on_worker_lost(Pid pid, const std::string& reason) {
    Record& record = records_.at(pid);
    conclude_soon(record, reason);
  }
  void consider(Record& record) {
    if (record.stage == Stage::gone || !record.process_ended) return;
    if (record.stage < Stage::listed && !record.failed)
      give_up(record);
    else
      finish(record);
  }
  void conclude_soon(Record& record, const std::string& reason) {
    master().enter_after(std::chrono::milliseconds(500), [this, &record, reason] {
      if (record.stage == Stage::gone) return;
      if (record.stage == Stage::leaving && !record.process_ended) return;
      if (record.stage < Stage::listed && !record.failed) {
        give_up(record);
        return;
      }
      kill(record.pid);
      finish(record);
    });
  }
  void finish(Record& record) {
    if (record.stage == Stage::gone) return;
    record.stage = Stage::gone;
    around_.trace.say(1, "declares process ", record.pid, " gone");
    WorkerExit exit;
    exit.pid = record.pid;
    exit.host = "simulated";
    exit.expected = record.expected;
    (void)master().cluster().remove(exit);
  }

  // -- a worker's: see worker_main.cpp
  void leave(Pid pid) {
    SimulatedProcess& process = *processes_.at(pid);
    process.enter_after(around_.delay(), [this, pid, &process] {
      around_.trace.say(pid, "leaves");
      process.cluster().leave();
      process.calls().interrupt_here();
      around_.time.after(around_.random.between(Nanoseconds(0), std::chrono::milliseconds(200)),
                         [this, pid] { kill(pid); });
    });
  }

  Surroundings around_;
  const Options options_;
  std::map<Pid, std::unique_ptr<SimulatedProcess>> processes_;
  std::map<Pid, Record> records_;
  std::map<runtime::LinkId, Record*> greeted_;
  Pid last_pid_ = 1;
  std::size_t deaths_ = 0;
  int cuts_ = 0;
  std::string failure_;
};

}  // namespace muster::simulation
