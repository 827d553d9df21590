#include <muster/ranges.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace muster {

std::vector<IndexRange> splitrange(std::size_t n, int parts) {
  if (parts < 1) {
    throw std::invalid_argument("splitrange: " + std::to_string(parts) + " parts asked for; there must be at least 1");
  }
  const std::size_t length = n / static_cast<std::size_t>(parts);
  const std::size_t longer = n % static_cast<std::size_t>(parts);
  std::vector<IndexRange> ranges;
  ranges.reserve(std::min(n, static_cast<std::size_t>(parts)));
  for (std::size_t first = 0; first < n;) {
    const std::size_t last = first + length + (ranges.size() < longer ? 1 : 0);
    ranges.push_back({first, last});
    first = last;
  }
  return ranges;
}

}  // namespace muster
