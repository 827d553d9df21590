// expect: does not know its size
#include <muster/detail/sendable.hpp>

void refused() { muster::detail::check_value<std::unique_ptr<int[]>>(); }
