/// @file
/// Whether a thread that looks for messages, yielding its core, shares that core with whoever would send them.
///
/// Two threads that hand one core to each other are left where they are for tens of milliseconds, though another core
/// is idle: neither waits long enough for the scheduler to move it. Each round trip then costs two switches between
/// processes, more than all the rest of a call. One that sleeps is placed anew as it is woken, on an idle core where
/// the scheduler sees one; in a virtual machine it does not, as an idle core looks like one that the host has taken
/// away, and the thread has to leave its core by itself.
#pragma once

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace muster::runtime {

/// How often this thread has lost its core while it could have gone on.
inline long cores_lost() {
  rusage usage{};
  return ::getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

/// Goes on on another core, where this thread may run on one.
inline void leave_this_core() {
  cpu_set_t allowed;
  const int here = ::sched_getcpu();
  if (here < 0 || ::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  CPU_CLR(static_cast<std::size_t>(here), &others);
  if (CPU_COUNT(&others) > 0 && ::sched_setaffinity(0, sizeof others, &others) == 0)
    (void)::sched_setaffinity(0, sizeof allowed, &allowed);
}

/// For who looks for something again at once.
inline void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Looks for something a few times, for which to look at the clock each time would take as long again.
/// @returns whether it came
template <class Came>
bool look_briefly(Came came) {
  constexpr int looks = 8;
  for (int i = 0; i < looks; ++i) {
    if (came()) return true;
    pause_briefly();
  }
  return false;
}

/// One thread's.
class CoreSharing {
 public:
  enum class Advice : std::uint8_t { yield, sleep, leave };
  static constexpr int sample = 32;  ///< waits
  static constexpr long unknown = -1;

  /// Whether to look again without yielding, after so long: to yield takes as long as half a round trip. Not where the
  /// core may be shared: who sends would have to wait for it.
  bool may_keep_core(std::chrono::nanoseconds looked) const {
    return looked < longest_kept && phase_ == Phase::watching && failed_ == 0;
  }
  /// What to do now, where it would yield.
  /// @param begins whether it is the first time in a wait; otherwise nothing came since
  /// @param losses cores_lost, which is asked seldom; or says `unknown` where there is none to share with
  template <class Losses>
  Advice advice(bool begins, Losses losses) {
    ++yields_;
    if (!begins || --left_ > 0) return Advice::yield;
    const long lost = losses();
    const bool shares =
        lost != unknown && lost_ != unknown && lost - lost_ >= yields_ / 2 && yields_ <= long{most_yields} * waits_;
    lost_ = lost;
    return shares ? shared() : alone();
  }
  /// It sleeps for reasons of its own, and may wake up on another core.
  void sleeps() {
    if (phase_ != Phase::watching || failed_ != 0) (void)alone();
  }

 private:
  enum class Phase : std::uint8_t {
    watching,
    suspecting,  ///< is to make sure
    tried,       ///< has slept or left, which may have helped
  };
  static constexpr std::chrono::microseconds longest_kept{2};
  /// Who gets the core has an answer when it gives it back. Waits that take longer are for somebody else.
  static constexpr int most_yields = 4;
  static constexpr int most_doublings = 6;

  Advice alone() {
    failed_ = 0;
    return look_again(Phase::watching, sample);
  }
  Advice shared() {
    if (phase_ == Phase::watching) return look_again(Phase::suspecting, short_sample());
    if (phase_ == Phase::tried && ++failed_ % 2 == 0)
      // Neither was of any use: all cores are taken, or there is only one.
      return look_again(Phase::watching, sample << std::min(failed_ / 2, most_doublings));
    (void)look_again(Phase::tried, short_sample());
    return failed_ % 2 == 0 ? Advice::sleep : Advice::leave;
  }
  /// Whoever it shares the core with may do the same at the same time, and they would meet again: so they take
  /// different times to make sure that the other is still there.
  int short_sample() const { return static_cast<int>(8 + 8 * (lost_ % 4)); }
  Advice look_again(Phase phase, int waits) {
    phase_ = phase;
    left_ = waits_ = waits;
    yields_ = 0;
    return Advice::yield;
  }

  Phase phase_ = Phase::watching;
  int failed_ = 0;                      ///< tries since it was alone last
  int left_ = sample, waits_ = sample;  ///< of the sample
  long yields_ = 0, lost_ = unknown;    ///< in it; at its beginning
};

}  // namespace muster::runtime
