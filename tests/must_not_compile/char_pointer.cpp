// expect: a raw pointer can't be sent to another process: send the value, a std::string
#include <muster/detail/sendable.hpp>

void refused() { muster::detail::check_value<const char*>(); }
