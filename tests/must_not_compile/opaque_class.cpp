// expect: neither an aggregate nor serializable
// expect: void serialize(Archive&)
// catalogue: 166
#include <muster/detail/sendable.hpp>

class Opaque {
 public:
  explicit Opaque(int number) : number_(number) {}
  int number() const { return number_; }

 private:
  int number_;
};

void refused() { muster::detail::check_value<Opaque>(); }
