// expect: ordered or hashed by a function pointer
#include <muster/detail/sendable.hpp>

using Set = std::set<int, bool (*)(int, int)>;

void refused() { muster::detail::check_value<Set>(); }
