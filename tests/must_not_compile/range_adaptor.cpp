// expect: a view (string_view, span, a range adaptor) can't be sent
#include <muster/detail/sendable.hpp>

using Numbers = decltype(std::views::iota(0, 3) | std::views::transform([](int i) { return i; }));

void refused() { muster::detail::check_value<Numbers>(); }
