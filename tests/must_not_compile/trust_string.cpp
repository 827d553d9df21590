// expect: trust only takes closures that are plain bytes
// expect: bind_front
#include <muster/callable.hpp>

void refused() {
  const std::string text = "x";
  static_cast<void>(muster::trust([text] { return text.size(); }));
}
