/// @file
/// Smart pointers in messages. Included by archive.hpp.
#pragma once

#include <muster/detail/archive.hpp>

#include <memory>
#include <new>

namespace muster::detail {

template <class T>
concept polymorphic_pointee = std::is_polymorphic_v<T>;

/// cereal's functions for pointers to base classes are there.
template <class Pointer>
constexpr void check_polymorphic() {
  static_assert(
      cereal::traits::detail::count_output_serializers<Pointer, OutputArchive>::value != 0,
      "a pointer to a polymorphic class travels by cereal's registry: include <cereal/types/polymorphic.hpp> and "
      "register the derived classes with CEREAL_REGISTER_TYPE");
}

template <class T>
void OutputArchive::write_shared(const std::shared_ptr<T>& pointer) {
  const Nesting nesting(depth_);
  if (!pointer) {
    write_count(0);
    return;
  }
  // The type is part of the name: an object and its first member have one address.
  const SharedObject object{static_cast<const void*>(pointer.get()), typeid(T)};
  const auto [place, is_new] = shared_.try_emplace(object, shared_.size() + 1);
  write_count(place->second);
  if (is_new) {
    keep_alive_.push_back(pointer);
    write(std::as_const(*pointer));
  }
}

template <class T, class D>
void OutputArchive::write_unique(const std::unique_ptr<T, D>& pointer) {
  const Nesting nesting(depth_);
  write_count(pointer ? 1 : 0);
  if (pointer) write(std::as_const(*pointer));
}

template <class T>
void InputArchive::read_shared(std::shared_ptr<T>& pointer) {
  using Object = std::remove_const_t<T>;
  const Nesting nesting(depth_);
  const std::size_t number = read_size();
  if (number == 0) {
    pointer.reset();
  } else if (number <= shared_.size()) {
    pointer = std::static_pointer_cast<Object>(find_shared(number, typeid(Object)));
  } else if (number != shared_.size() + 1) {
    throw_invalid("a shared pointer refers to an object that was not sent");
  } else if constexpr (std::is_default_constructible_v<Object> &&
                       !cereal::traits::has_load_and_construct<Object, InputArchive>::value) {
    auto object = std::make_shared<Object>();
    shared_.push_back({typeid(Object), object});  // before its contents, which may point back to it
    read(*object);
    pointer = std::move(object);
  } else {
    shared_.push_back({typeid(Object), nullptr});
    std::shared_ptr<Object> object = make_on_heap<Object>();
    shared_[number - 1].pointer = object;
    pointer = std::move(object);
  }
}

template <class T, class D>
void InputArchive::read_unique(std::unique_ptr<T, D>& pointer) {
  using Object = std::remove_const_t<T>;
  const Nesting nesting(depth_);
  const std::size_t there = read_size();
  if (there > 1) throw_invalid("a unique_ptr is neither null nor not");
  pointer.reset(there == 0 ? nullptr : make_on_heap<Object>().release());
}

/// A new object on the heap, whatever way of constructing it the type offers.
template <class T>
std::unique_ptr<T> InputArchive::make_on_heap() {
  if constexpr (cereal::traits::has_load_and_construct<T, InputArchive>::value) {
    return load_and_construct<T>();
  } else if constexpr (std::is_default_constructible_v<T>) {
    auto object = std::make_unique<T>();
    read(*object);
    return object;
  } else if constexpr (form_of<T> == Form::user || std::is_polymorphic_v<T>) {
    static_assert(
        cereal::traits::is_default_constructible<T>::value,
        "a type that is read from a message needs a default constructor (it may be private if the class has the "
        "friend cereal::access), or static void load_and_construct(Archive&, cereal::construct<T>&)");
    std::unique_ptr<T> object(cereal::access::construct<T>());
    read(*object);
    return object;
  } else {
    return std::make_unique<T>(make<T>());
  }
}

/// Calls the user's load_and_construct on fresh memory.
template <class T>
std::unique_ptr<T> InputArchive::load_and_construct() {
  struct Storage {
    alignas(T) std::byte bytes[sizeof(T)];
  };
  static_assert(
      requires { sizeof(cereal::memory_detail::LoadAndConstructLoadWrapper<InputArchive, T>); },
      "a type with load_and_construct needs #include <cereal/types/memory.hpp>");
  auto storage = std::make_unique<Storage>();
  cereal::memory_detail::LoadAndConstructLoadWrapper<InputArchive, T> wrapper(reinterpret_cast<T*>(storage->bytes));
  const Nesting nesting(depth_);
  try {
    wrapper.CEREAL_SERIALIZE_FUNCTION_NAME(*this);
  } catch (...) {
    T* object = nullptr;
    try {
      object = wrapper.construct.ptr();
    } catch (...) {  // NOLINT(bugprone-empty-catch): not constructed yet
    }
    if (object != nullptr) std::destroy_at(object);
    throw;
  }
  T* const object = wrapper.construct.ptr();
  static_cast<void>(storage.release());
  return std::unique_ptr<T>(object);
}

template <class T>
struct Codec<std::shared_ptr<T>> {
  using Elements = std::conditional_t<std::is_polymorphic_v<T>, TypeList<>, TypeList<T>>;
  static constexpr std::size_t least_bytes = 1;
  static void save(OutputArchive& archive, const std::shared_ptr<T>& pointer) {
    if constexpr (std::is_polymorphic_v<T>) {
      check_polymorphic<std::shared_ptr<T>>();
      archive.write_polymorphic(pointer);
    } else {
      archive.write_shared(pointer);
    }
  }
  static void load(InputArchive& archive, std::shared_ptr<T>& pointer) {
    if constexpr (std::is_polymorphic_v<T>) {
      check_polymorphic<std::shared_ptr<T>>();
      archive.read_polymorphic(pointer);
    } else {
      archive.read_shared(pointer);
    }
  }
};

template <class T>
struct Codec<std::weak_ptr<T>> {
  using Elements = typename Codec<std::shared_ptr<T>>::Elements;
  static constexpr std::size_t least_bytes = 1;
  static void save(OutputArchive& archive, const std::weak_ptr<T>& pointer) { archive.write(pointer.lock()); }
  static void load(InputArchive& archive, std::weak_ptr<T>& pointer) {
    std::shared_ptr<T> shared;
    archive.read(shared);
    pointer = shared;  // the archive holds the object until all is read
  }
};

template <class T, class D>
  requires(!std::is_array_v<T>)
struct Codec<std::unique_ptr<T, D>> {
  using Elements = std::conditional_t<std::is_polymorphic_v<T>, TypeList<>, TypeList<T>>;
  static constexpr std::size_t least_bytes = 1;
  static void save(OutputArchive& archive, const std::unique_ptr<T, D>& pointer) {
    if constexpr (std::is_polymorphic_v<T>) {
      check_polymorphic<std::unique_ptr<T, D>>();
      archive.write_polymorphic(pointer);
    } else {
      archive.write_unique(pointer);
    }
  }
  static void load(InputArchive& archive, std::unique_ptr<T, D>& pointer) {
    if constexpr (std::is_polymorphic_v<T>) {
      check_polymorphic<std::unique_ptr<T, D>>();
      archive.read_polymorphic(pointer);
    } else {
      archive.read_unique(pointer);
    }
  }
};

}  // namespace muster::detail
