// expect: a std::reference_wrapper can't be sent to another process
#include <muster/detail/sendable.hpp>

void refused() { muster::detail::check_value<std::reference_wrapper<int>>(); }
