// expect: a reference can't be sent to another process: send the value
#include <muster/detail/sendable.hpp>

void refused() { muster::detail::check_value<int&>(); }
