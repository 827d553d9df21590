// expect: bind_front
#include <muster/spawn.hpp>

#include <string>

void refused(std::string text) {
  (void)muster::spawn([text] { return text.size(); });
}
