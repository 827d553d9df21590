// expect: a reference can't be sent to another process
#include <muster/detail/sendable.hpp>

void refused() { muster::detail::check_value<std::tuple<int, int&>>(); }
