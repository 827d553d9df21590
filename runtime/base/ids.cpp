/// @file
/// Names of remote values, in words.
#include <muster/ids.hpp>

#include <ostream>

namespace muster {

std::ostream& operator<<(std::ostream& out, const RemoteRefId& id) { return out << id.creator << ':' << id.number; }

}  // namespace muster
