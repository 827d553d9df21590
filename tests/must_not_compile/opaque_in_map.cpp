// expect: neither an aggregate nor serializable
#include <muster/detail/sendable.hpp>

class Opaque {
 public:
  explicit Opaque(int number) : number_(number) {}
  int number() const { return number_; }

 private:
  int number_;
};

void refused() { muster::detail::check_value<std::map<int, std::optional<Opaque>>>(); }
