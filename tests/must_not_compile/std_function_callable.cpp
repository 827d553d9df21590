// expect: a std::function can't be sent to another process
// expect: bind_front
#include <muster/detail/sendable.hpp>

void refused() { muster::detail::check_callable<std::function<int(int)>>(); }
