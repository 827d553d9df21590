#include "runtime/base/demangle.hpp"

#include <muster/detail/archive.hpp>

#include <string>

namespace muster::detail {

namespace {

constexpr const char* same_program =
    ". Messages are only understood between processes of one build of a program, and a type's serialize function must "
    "read "
    "what it writes.";

}  // namespace

void throw_too_deep() {
  throw SerializationError("containers, pointers and objects are nested more than " + std::to_string(max_nesting) +
                           " deep: send a flat structure, e.g. a vector of nodes that refer to each other by index");
}

void rethrow_as_serialization_error(const char* doing, const std::type_info& type) {
  const auto text = [&](const std::string& why) {
    return "A value of type " + runtime::readable_name(type) + " could not be " + doing + ": " + why;
  };
  try {
    throw;
  } catch (const SerializationError& error) {
    throw SerializationError(text(error.what()));
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw SerializationError(text("out of memory"));
  } catch (const std::exception& error) {
    throw SerializationError(text(error.what()));
  } catch (...) {
    throw SerializationError(text("its serialize function threw something that is no std::exception"));
  }
}

// --- writing ---

void OutputArchive::write_part(const void* data, std::size_t bytes, const std::shared_ptr<const void>& owner) {
  Part part{static_cast<const std::byte*>(data), bytes, owner ? owner : parts_owner_};
  if (!owner && !stable_) {
    auto copy = fresh_memory(bytes);
    std::memcpy(copy.get(), data, bytes);
    part.data = copy.get();
    part.owner = std::move(copy);
  }
  write_count(payload_.parts.size());
  payload_.parts.push_back(std::move(part));
}

std::uint32_t OutputArchive::add_handle(std::shared_ptr<Handle> handle) {
  auto& handles = payload_.handles;
  for (std::size_t i = 0; i < handles.size(); ++i) {
    if (handles[i] == handle) return static_cast<std::uint32_t>(i);
  }
  handles.push_back(std::move(handle));
  return static_cast<std::uint32_t>(handles.size() - 1);
}

// --- reading ---

std::size_t InputArchive::read_size() {
  std::size_t size = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = std::to_integer<std::size_t>(*take(1));
    const std::size_t bits = byte & 0x7f;
    if (shift == 63 && bits > 1) break;
    size |= bits << shift;
    if (byte < 0x80) return size;
  }
  throw_invalid("a size takes more than 64 bits");
}

const Part& InputArchive::take_part(std::size_t bytes) {
  const std::size_t index = read_size();
  const auto& parts = payload_.parts;
  if (index >= parts.size()) {
    throw_invalid(("an array refers to part " + std::to_string(index) + " of " + std::to_string(parts.size())).c_str());
  }
  if (part_used_[index]) throw_invalid(("part " + std::to_string(index) + " is used twice").c_str());
  if (parts[index].size != bytes) {
    throw_invalid(("part " + std::to_string(index) + " has " + std::to_string(parts[index].size) + " bytes where " +
                   std::to_string(bytes) + " are expected")
                      .c_str());
  }
  part_used_[index] = true;
  left_in_parts_ -= bytes;
  return parts[index];
}

Part InputArchive::take_whole_part(std::size_t bytes) {
  const Part& part = take_part(bytes);
  if (part.arriving != nullptr) part.arriving->await(part.data + part.size);
  return {part.data, part.size, part.owner};
}

std::shared_ptr<void> InputArchive::find_shared(std::size_t number, const std::type_info& type) const {
  const SharedObject& object = shared_[number - 1];
  if (object.type != type) {
    throw_invalid(("a shared pointer to " + runtime::readable_name(type) + " refers to an object of type " +
                   runtime::demangled(object.type.name()))
                      .c_str());
  }
  if (!object.pointer) {
    throw_invalid(
        ("an object of type " + runtime::readable_name(type) + " points to itself, which needs a default constructor")
            .c_str());
  }
  return object.pointer;
}

std::shared_ptr<Handle> InputArchive::handle(std::uint32_t index) const {
  if (index >= payload_.handles.size()) {
    throw_invalid(
        ("a value refers to handle " + std::to_string(index) + " of " + std::to_string(payload_.handles.size()))
            .c_str());
  }
  return payload_.handles[index];
}

void InputArchive::finish() const {
  if (at_ != end_) throw_invalid((std::to_string(left()) + " bytes are left over").c_str());
  for (std::size_t i = 0; i < part_used_.size(); ++i) {
    if (!part_used_[i]) throw_invalid(("part " + std::to_string(i) + " is left over").c_str());
  }
}

void InputArchive::throw_invalid(const char* what) const {
  const std::size_t all = payload_.bytes.size();
  throw SerializationError("The message is malformed at byte " + std::to_string(all - left()) + " of " +
                           std::to_string(all) + ": " + what + same_program);
}

void InputArchive::throw_truncated(std::size_t wanted) const {
  throw_invalid((std::to_string(wanted) + " bytes are expected, " + std::to_string(left()) + " are left").c_str());
}

void InputArchive::throw_too_many(std::size_t count) const {
  throw_invalid(
      (std::to_string(count) + " elements are announced, " + std::to_string(left()) + " bytes are left").c_str());
}

}  // namespace muster::detail
