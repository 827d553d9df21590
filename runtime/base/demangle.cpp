/// @file
/// Types by their names.
#include "runtime/base/demangle.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <utility>

namespace muster::runtime {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

/// What is known of one base class while the hierarchy is walked.
struct Base {
  std::set<std::string> subobjects;  ///< how each distinct subobject of the class is reached; more than one: ambiguous
  bool accessible = false;           ///< some way there is public all along
};

using Bases = std::map<std::string, Base>;

/// Notes every base of `type`, which is itself the subobject called `path`. A virtual base is one subobject however it
/// is reached, so it is called by its own name; any other base by its place in the class that has it.
void collect(const std::type_info& type, const std::string& path, bool accessible, Bases& bases) {
  const auto visit = [&](const abi::__class_type_info& base, const std::string& place, bool is_virtual,
                         bool is_public) {
    const std::string name = base.name();
    const std::string subobject = is_virtual ? "virtual " + name : path + "/" + place;
    Base& entry = bases[name];
    entry.subobjects.insert(subobject);
    const bool reachable = accessible && is_public;
    entry.accessible = entry.accessible || reachable;
    collect(base, subobject, reachable, bases);
  };
  if (const auto* single = dynamic_cast<const abi::__si_class_type_info*>(&type)) {
    visit(*single->__base_type, "0", false, true);
  } else if (const auto* several = dynamic_cast<const abi::__vmi_class_type_info*>(&type)) {
    for (unsigned i = 0; i < several->__base_count; ++i) {
      const abi::__base_class_type_info& base = several->__base_info[i];
      visit(*base.__base_type, std::to_string(i), base.__is_virtual_p(), base.__is_public_p());
    }
  }
}

}  // namespace

std::string demangled(const char* mangled) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(mangled, nullptr, nullptr, &status),
                                                         &std::free);
  if (status != 0 || !text) return mangled;
  std::string result = text.get();
  replace_all(result, "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >", "std::string");
  replace_all(result, "__cxx11::", "");
  replace_all(result, "[abi:cxx11]", "");
  // What libstdc++ throws for std::ios_base::failure, so that code built for either of its string ABIs catches it.
  replace_all(result, "std::__ios_failure", "std::ios_base::failure");
  if (result == "char const*") result = "const char*";
  return result;
}

std::vector<std::string> caught_as(const std::type_info& type) {
  Bases bases;
  collect(type, "", true, bases);
  std::vector<std::string> names = {type.name()};
  for (const auto& [name, base] : bases) {
    if (base.accessible && base.subobjects.size() == 1) names.push_back(name);
  }
  return names;
}

}  // namespace muster::runtime
