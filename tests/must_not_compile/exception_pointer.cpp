// expect: neither an aggregate nor serializable
#include <muster/detail/sendable.hpp>

void refused() { muster::detail::check_value<std::exception_ptr>(); }
