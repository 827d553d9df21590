// expect: a raw pointer can't be sent
#include <muster/detail/sendable.hpp>

void refused() { muster::detail::check_value<std::vector<int*>>(); }
