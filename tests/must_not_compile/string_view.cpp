// expect: a view (string_view, span, a range adaptor) can't be sent
#include <muster/detail/sendable.hpp>

void refused() { muster::detail::check_value<std::string_view>(); }
