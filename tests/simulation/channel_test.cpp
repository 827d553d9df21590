/// @file
/// A channel under random delays, timeouts, cancellations and deaths: processes ask its owner over links that deliver
/// in order each but in any order between them; whoever waits may give up at any moment, and processes die at any step.
/// Some put into places of their own without asking: such an item is in once it was sent, though its putter dies at
/// once. Thousands of seeds; MUSTER_SEED=n replays one with a trace.
#include "runtime/refs/channel_queue.hpp"
#include "tests/simulation/seeded_run.hpp"

#include <muster/errors.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

using muster::Pid;
using muster::detail::Payload;
using muster::runtime::Asker;
using muster::runtime::ChannelOperation;
using muster::runtime::ChannelQueue;
using muster::runtime::ChannelWord;
using muster::simulation::run_seeds;
using What = ChannelQueue::Reply::What;

Payload payload_of(int item) {
  Payload payload;
  payload.bytes.append(&item, sizeof item);
  return payload;
}

int item_of(const Payload& payload) {
  int item = 0;
  if (payload.bytes.size() == sizeof item) std::memcpy(&item, payload.bytes.data(), sizeof item);
  return item;
}

/// How a client that breaks the protocol does it, to see that the invariants notice.
enum class Broken { nothing, swallows, keeps_and_returns, gives_back_and_puts };

/// Places are given soon, and again.
constexpr ChannelQueue::PlacesPolicy eager{.most = 4, .fewest = 1, .puts_before = 0, .puts_before_next = 1};

class Scenario : private muster::simulation::SeededRun {
 public:
  Scenario(std::uint64_t seed, Broken broken, bool traced)
      : SeededRun(seed, traced),
        broken_(broken),
        places_(chance(50)),
        capacity_(static_cast<std::size_t>(places_ ? between(2, 9) : between(0, 3))),
        queue_(capacity_, eager) {
    const int processes = between(2, 5);
    for (Pid pid = 1; pid <= processes; ++pid) living_.insert(pid);
    deaths_ = chance(50);
    give_up_ = chance(70);
    trace("capacity ", capacity_, ", ", processes, " processes");
  }

  /// @returns what went wrong, or nothing
  std::string run() {
    const int steps = between(20, places_ ? 400 : 150);
    for (int step = 0; step < steps && failure_.empty(); ++step) act();
    finish();
    return failure_;
  }

 private:
  enum class State { waiting, withdrawn, abandoned, yes, no, failed };
  struct Question {
    ChannelOperation operation;
    bool at_once;
    State state = State::waiting;
    int item = 0;
    bool dead = false;
    bool unasked = false;  ///< put into a place of its own
  };
  /// What a link carries to the owner: a question, a word, that its sender died, or that this was all it left.
  struct Said {
    Asker asker;
    bool question = false;
    bool died = false;
    ChannelWord word{};
    bool in_place = false, was_all = false;
  };

  Pid any_living() { return *std::next(living_.begin(), between(0, static_cast<int>(living_.size()) - 1)); }
  Question* any_in(State state) {
    std::vector<Question*> found;
    for (auto& [asker, question] : questions_)
      if (!question.dead && question.state == state) found.push_back(&question);
    return found.empty() ? nullptr : found[static_cast<std::size_t>(between(0, static_cast<int>(found.size()) - 1))];
  }
  Asker asker_of(const Question& question) {
    for (const auto& [asker, one] : questions_)
      if (&one == &question) return asker;
    return {};
  }

  void act() {
    const int what = between(1, 100);
    if (what <= 25) {
      ask();
    } else if (what <= 32 && give_up_) {
      if (auto* question = any_in(State::waiting)) withdraw(*question);
    } else if (what <= 36 && give_up_) {
      if (auto* question = any_in(State::withdrawn)) {
        abandon(*question);
      }
    } else if (what <= 38 && deaths_ && living_.size() > 1) {
      die(any_living());
    } else if (what == 39 && (!places_ || chance(10))) {
      close(any_living());
    } else {
      deliver();
    }
  }

  void close(Pid pid) {
    const Asker asker{pid, ++last_number_};
    trace(name(asker), " closes");
    questions_.emplace(asker, Question{.operation = ChannelOperation::close, .at_once = false});
    to_owner_[pid].push_back({.asker = asker, .question = true});
  }
  void ask() {
    const Pid pid = any_living();
    const Asker asker{pid, ++last_number_};
    Question question{.operation = ChannelOperation::put, .at_once = chance(20)};
    const int what = between(1, 10);
    if (what > 9) {
      question.operation = capacity_ == 0 ? ChannelOperation::wait : ChannelOperation::fetch;
    } else if (what > 5) {
      question.operation = ChannelOperation::take;
    } else {
      question.item = ++last_item_;
    }
    if (question.operation == ChannelOperation::put && places_of_[pid] > 0 && chance(80)) {
      if (broken_ != Broken::gives_back_and_puts) --places_of_[pid];
      trace(name(asker), " puts ", question.item, " into a place of its own");
      for (const auto& [other, one] : questions_)  // another thread's, which may come in later
        if (other.pid == pid && one.operation == ChannelOperation::put && one.state == State::waiting)
          unordered_.insert(pid);
      question.state = State::yes;
      question.unasked = true;
      questions_.emplace(asker, question);
      to_owner_[pid].push_back({.asker = asker, .in_place = true});
      return;
    }
    trace(name(asker), " asks ", static_cast<int>(question.operation), question.at_once ? " at once" : "", ' ',
          question.item);
    questions_.emplace(asker, question);
    to_owner_[pid].push_back({.asker = asker, .question = true});
  }
  void withdraw(Question& question) {
    const Asker asker = asker_of(question);
    question.state = State::withdrawn;
    trace(name(asker), " withdraws");
    to_owner_[asker.pid].push_back({.asker = asker, .word = ChannelWord::withdraw});
  }
  /// Its owner did not answer in time: whatever the reply will be, nobody is there to use it.
  void abandon(Question& question) {
    const Asker asker = asker_of(question);
    question.state = State::abandoned;
    trace(name(asker), " is abandoned");
    if (question.operation == ChannelOperation::take && broken_ != Broken::swallows)
      to_owner_[asker.pid].push_back({.asker = asker, .word = ChannelWord::returned});
  }
  void die(Pid pid) {
    trace(pid, " dies");
    living_.erase(pid);
    to_client_.erase(pid);
    auto& link = to_owner_[pid];
    // The rest is lost, but for items in places of their own; those come before or behind the news.
    const auto kept = static_cast<std::size_t>(between(0, static_cast<int>(link.size())));
    std::deque<Said> rest(std::next(link.begin(), static_cast<std::ptrdiff_t>(kept)), link.end());
    link.resize(kept);
    link.push_back({.asker = {pid, 0}, .died = true});
    for (const Said& said : rest)
      if (said.in_place) link.push_back(said);
    link.push_back({.asker = {pid, 0}, .was_all = true});
    places_of_[pid] = 0;
    for (auto& [asker, question] : questions_)
      if (asker.pid == pid) question.dead = true;
  }

  /// One message of one link. @returns false where there is none
  bool deliver() {
    std::vector<std::pair<Pid, bool>> links;
    for (const auto& [pid, link] : to_owner_)
      if (!link.empty()) links.emplace_back(pid, true);
    for (const auto& [pid, link] : to_client_)
      if (!link.empty()) links.emplace_back(pid, false);
    if (links.empty()) return false;
    const auto [pid, up] = links[static_cast<std::size_t>(between(0, static_cast<int>(links.size()) - 1))];
    if (up) {
      const Said said = to_owner_[pid].front();
      to_owner_[pid].pop_front();
      hear(said);
    } else {
      const auto reply = std::move(to_client_[pid].front());
      to_client_[pid].pop_front();
      answered(reply);
    }
    return true;
  }
  void hear(const Said& said) {
    ChannelQueue::Replies replies;
    if (said.died) {
      trace("owner hears that ", said.asker.pid, " died");
      queue_.process_died(said.asker.pid, replies);
      gone_.insert(said.asker.pid);
    } else if (said.was_all) {
      queue_.places_returned(said.asker.pid, replies);
    } else if (said.in_place) {
      queue_.put_in_place(said.asker.pid, payload_of(questions_.at(said.asker).item), replies);
      queue_.offer_places(said.asker.pid, replies);
    } else if (said.question) {
      const Question& question = questions_.at(said.asker);
      switch (question.operation) {
        case ChannelOperation::put:
          queue_.put(said.asker, payload_of(question.item), question.at_once, replies);
          if (places_) queue_.offer_places(said.asker.pid, replies);
          break;
        case ChannelOperation::close: queue_.close(said.asker, replies); break;
        case ChannelOperation::take: queue_.take(said.asker, question.at_once, replies); break;
        case ChannelOperation::fetch: queue_.fetch(said.asker, replies); break;
        default: queue_.wait(said.asker, replies);
      }
    } else if (said.word == ChannelWord::withdraw) {
      queue_.withdraw(said.asker, replies);
    } else if (said.word == ChannelWord::received) {
      queue_.received(said.asker, replies);
    } else if (said.word == ChannelWord::places_returned) {
      queue_.places_returned(said.asker.pid, replies);
    } else {
      returns_ = true;
      queue_.returned(said.asker, replies);
    }
    send(replies);
    if (!returns_ && !deaths_ && capacity_ != 0 && queue_.size() > capacity_) fail("holds more than its capacity");
  }
  void send(ChannelQueue::Replies& replies) {
    for (auto& reply : replies) {
      trace("owner says to ", name(reply.to), ": ", static_cast<int>(reply.what), ' ', item_of(reply.item), ' ',
            reply.places);
      const bool notice = reply.what == What::places || reply.what == What::recall;
      if (!notice && !replied_.insert(reply.to).second) fail(name(reply.to), " is replied to twice");
      if (!notice && gone_.contains(reply.to.pid)) fail("a reply to the dead ", name(reply.to));
      if (living_.contains(reply.to.pid)) to_client_[reply.to.pid].push_back(std::move(reply));
    }
    replies.clear();
  }
  void answered(const ChannelQueue::Reply& reply) {
    const Pid pid = reply.to.pid;
    if (reply.what == What::places) {
      places_of_[pid] += static_cast<int>(reply.places);
      return;
    }
    if (reply.what == What::recall) {
      if (broken_ != Broken::gives_back_and_puts) places_of_[pid] = 0;
      to_owner_[pid].push_back({.asker = {pid, 0}, .word = ChannelWord::places_returned});
      return;
    }
    Question& question = questions_.at(reply.to);
    if (question.state == State::abandoned) return;
    if (question.operation == ChannelOperation::take && reply.what == What::yes) {
      const bool both = broken_ == Broken::keeps_and_returns && chance(5);
      seen_[item_of(reply.item)].push_back(reply.to.pid);
      trace(name(reply.to), " has ", item_of(reply.item));
      to_owner_[reply.to.pid].push_back(
          {.asker = reply.to, .word = both ? ChannelWord::returned : ChannelWord::received});
    }
    if (reply.what == What::no && question.state == State::waiting && !question.at_once)
      fail(name(reply.to), " hears no for nothing");
    question.state = reply.what == What::yes ? State::yes : reply.what == What::no ? State::no : State::failed;
  }

  void finish() {
    while (failure_.empty() && deliver()) {
    }
    if (!failure_.empty()) return;
    close(any_living());
    ChannelQueue::Replies replies;
    while (failure_.empty() && deliver()) {
    }
    if (!failure_.empty()) return;
    for (const auto& [asker, question] : questions_) {
      if (question.dead || question.unasked) continue;
      if (!replied_.contains(asker)) fail(name(asker), " waits for ever");
    }
    for (std::uint64_t number = 1;; ++number) {
      queue_.take({99, number}, false, replies);
      if (replies.size() != 1) return fail("a closed channel lets a taker wait");
      if (replies[0].what != What::yes) break;
      ++left_[item_of(replies[0].item)];
      replies.clear();
      queue_.received({99, number}, replies);
    }
    for (const auto& [asker, question] : questions_)
      if (question.operation == ChannelOperation::put) check(asker, question);
    check_order();
  }
  /// What became of one item.
  void check(Asker asker, const Question& question) {
    int living = left_[question.item], dead = 0;
    for (const Pid pid : seen_[question.item]) ++(living_.contains(pid) ? living : dead);
    if (living > 1) fail("item ", question.item, " is there ", living, " times");
    if (question.state == State::abandoned || (question.dead && !question.unasked)) return;
    if (question.state == State::yes) {
      if (living + dead == 0) fail("item ", question.item, " of ", name(asker), " is lost");
    } else if (living != 0) {  // the dead may have had it and said nothing
      fail("item ", question.item, " is there, though its put failed");
    }
  }
  /// Where nobody gives up or dies, what one process puts one after the other comes out in that order... at the owner.
  void check_order() {
    if (give_up_ || deaths_) return;
    std::map<Pid, int> last;
    for (const auto& [item, count] : left_) {
      if (count == 0) continue;
      for (const auto& [other, pids] : seen_)
        if (other > item && !pids.empty() && putter_of(other) == putter_of(item) &&
            !unordered_.contains(putter_of(item)))
          fail("item ", other, " went before ", item);
    }
  }
  Pid putter_of(int item) {
    for (const auto& [asker, question] : questions_)
      if (question.operation == ChannelOperation::put && question.item == item) return asker.pid;
    return 0;
  }
  static std::string name(Asker asker) { return std::to_string(asker.pid) + '/' + std::to_string(asker.number); }

  const Broken broken_;
  const bool places_;
  const std::size_t capacity_;
  ChannelQueue queue_;
  bool deaths_ = false, give_up_ = false, returns_ = false;
  std::map<Pid, int> places_of_;
  std::set<Pid> unordered_;
  std::uint64_t last_number_ = 0;
  int last_item_ = 0;
  std::set<Pid> living_, gone_;  ///< gone: as the owner knows
  std::map<Asker, Question> questions_;
  std::set<Asker> replied_;
  std::map<Pid, std::deque<Said>> to_owner_;
  std::map<Pid, std::deque<ChannelQueue::Reply>> to_client_;
  std::map<int, std::vector<Pid>> seen_;
  std::map<int, int> left_;
};

TEST(ChannelSimulation, NoItemIsLostOrDoubled) {
  run_seeds(20'000, [](std::uint64_t seed, bool traced) { return Scenario(seed, Broken::nothing, traced).run(); });
}

TEST(ChannelSimulation, BrokenClientsAreNoticed) {
  for (const Broken broken : {Broken::swallows, Broken::keeps_and_returns, Broken::gives_back_and_puts}) {
    bool noticed = false;
    for (std::uint64_t seed = 1; seed <= 2'000 && !noticed; ++seed)
      noticed = !Scenario(seed, broken, false).run().empty();
    EXPECT_TRUE(noticed) << static_cast<int>(broken);
  }
}

}  // namespace
