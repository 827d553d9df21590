#include <muster/backoff.hpp>

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <string>

namespace muster {

namespace {

void require(bool good, const char* field, const std::string& value) {
  if (good) return;
  throw std::invalid_argument(std::string("ExponentialBackOff: ") + field + " is " + value +
                              "; it must be a finite number, and not negative");
}

}  // namespace

ExponentialBackOff::operator std::vector<std::chrono::nanoseconds>() const {
  using std::chrono::nanoseconds;
  require(n >= 0, "n", std::to_string(n));
  require(first_delay >= nanoseconds::zero(), "first_delay", std::to_string(first_delay.count()) + " ns");
  require(max_delay >= nanoseconds::zero(), "max_delay", std::to_string(max_delay.count()) + " ns");
  require(std::isfinite(factor) && factor >= 0, "factor", std::to_string(factor));
  require(std::isfinite(jitter) && jitter >= 0, "jitter", std::to_string(jitter));

  std::minstd_rand random(std::random_device{}());
  std::uniform_real_distribution<double> around_one(1 - jitter, 1 + jitter);
  std::vector<nanoseconds> delays;
  delays.reserve(static_cast<std::size_t>(n));
  nanoseconds delay = std::min(first_delay, max_delay);
  for (int i = 0; i < n; ++i) {
    delays.push_back(delay);
    const double next = static_cast<double>(delay.count()) * factor * around_one(random);
    // Compared as doubles first: the product may be beyond what nanoseconds hold.
    delay = next >= static_cast<double>(max_delay.count()) ? max_delay : nanoseconds(std::llround(std::max(next, 0.0)));
  }
  return delays;
}

}  // namespace muster
