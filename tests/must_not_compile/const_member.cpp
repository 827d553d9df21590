// expect: a const member can't be read from a message
#include <muster/detail/sendable.hpp>

struct Fixed {
  const int number = 0;
};

void refused(muster::detail::InputArchive& archive, Fixed& fixed) { archive(fixed); }
