/// @file
/// The front end that calls the installed compiler for each input.
#include "repl/front_end/front_end.hpp"

namespace muster::repl {

std::unique_ptr<FrontEnd> make_gxx_front_end(const std::string& /*compiler*/, const FrontEndOptions& /*options*/) {
  throw std::runtime_error("not yet");
}

}  // namespace muster::repl
