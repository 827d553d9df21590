/// @file
/// Types by their names: in words, and what they derive from.
#pragma once

#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

namespace muster::runtime {

/// The readable form of a mangled name of a type or function; the name itself where it is none. What the library's
/// inline namespaces and ABI tags add is left out: `std::string`, `std::ios_base::failure`.
std::string demangled(const char* mangled);

/// The readable name of a type.
inline std::string readable_name(const std::type_info& type) { return demangled(type.name()); }

/// Mangled names of the type and of every class T for which `catch (const T&)` would catch an object of it: all public
/// unambiguous bases, the type itself first. Read from the run-time type information that the compiler lays out for
/// catch itself (Itanium C++ ABI, 2.9.5).
std::vector<std::string> caught_as(const std::type_info& type);

}  // namespace muster::runtime
