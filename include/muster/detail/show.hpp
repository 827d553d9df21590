/// @file
/// Values as text for people: what the prompt prints.
#pragma once

#include <muster/detail/aggregate.hpp>
#include <muster/future.hpp>
#include <muster/remote_channel.hpp>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace muster::detail {

template <class T>
void show_to(std::string& text, const T& value);

/// So many elements of a range are shown.
inline constexpr std::size_t shown_elements = 40;

/// The name of a type, as the compiler writes it.
template <class T>
constexpr std::string_view name_of_type() {
  constexpr std::string_view all = __PRETTY_FUNCTION__;
  constexpr std::size_t first = all.find("T = ") + 4;
  constexpr std::size_t last = all.find_first_of(";]", first);
  constexpr std::string_view name = all.substr(first, last - first);
  constexpr std::string_view at_prompt = "prompt::";
  return name.starts_with(at_prompt) ? name.substr(name.rfind("::") + 2) : name;
}

inline void show_quoted(std::string& text, std::string_view value, char quote) {
  text += quote;
  for (const char c : value) {
    if (c == '\n') {
      text += "\\n";
    } else if (c == '\t') {
      text += "\\t";
    } else if (static_cast<unsigned char>(c) < ' ') {
      constexpr std::string_view digits = "0123456789abcdef";
      text += "\\x";
      text += digits[static_cast<unsigned char>(c) >> 4U];
      text += digits[static_cast<unsigned char>(c) & 15U];
    } else {
      if (c == quote || c == '\\') text += '\\';
      text += c;
    }
  }
  text += quote;
}

/// The shortest text that reads back as the same number; one that is whole has ".0".
template <class T>
void show_number(std::string& text, T value) {
  char digits[64];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  const std::string_view number(digits, static_cast<std::size_t>(end - digits));
  text += number;
  if constexpr (std::is_floating_point_v<T>) {
    if (number.find_first_not_of("-0123456789") == std::string_view::npos) text += ".0";
  }
}

template <class T>
concept streamable = requires(std::ostream& stream, const T& value) { stream << value; };
/// A closure without captures: as a pointer to a function it would be streamed, and come out as 1.
template <class T>
concept becomes_function = std::is_class_v<T> && requires(const T& value) {
  requires std::is_function_v<std::remove_pointer_t<decltype(+value)>>;
};
template <class T>
concept ranged = requires(const T& value) {
  value.begin();
  value.end();
};
template <class T>
concept tuple_like = requires { std::tuple_size<T>::value; };
template <class T>
concept pointer_like = requires(const T& value) {
  typename T::element_type;
  *value;
  value.get();
};
template <class T>
inline constexpr bool shown_as_future = false;
template <class T>
inline constexpr bool shown_as_future<Future<T>> = true;
template <class T>
inline constexpr bool shown_as_channel = false;
template <class T>
inline constexpr bool shown_as_channel<RemoteChannel<T>> = true;
template <class T>
inline constexpr bool shown_as_optional = false;
template <class T>
inline constexpr bool shown_as_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool shown_as_variant = false;
template <class... T>
inline constexpr bool shown_as_variant<std::variant<T...>> = true;
template <class T>
inline constexpr bool shown_as_duration = false;
template <class R, class P>
inline constexpr bool shown_as_duration<std::chrono::duration<R, P>> = true;

template <class Range>
void show_range(std::string& text, const Range& range) {
  text += '{';
  std::size_t number = 0;
  for (const auto& element : range) {
    if (number > 0) text += ", ";
    if (number++ == shown_elements) {
      text += "...";
      break;
    }
    if constexpr (requires {
                    typename Range::key_type;
                    typename Range::mapped_type;
                  }) {
      show_to(text, element.first);
      text += ": ";
      show_to(text, element.second);
    } else {
      show_to(text, element);
    }
  }
  text += '}';
  if constexpr (requires { range.size(); }) {
    if (number > shown_elements) text += " (" + std::to_string(range.size()) + " elements)";
  }
}

template <class T>
void show_future(std::string& text, const Future<T>& future) {
  text += "Future<" + std::string(name_of_type<T>()) + "> on process " + std::to_string(future.where());
  text += future.isready() ? ", ready" : ", pending";
}

template <class R, class P>
void show_duration(std::string& text, std::chrono::duration<R, P> value) {
  show_to(text, value.count());
  if constexpr (std::ratio_equal_v<P, std::nano>) {
    text += "ns";
  } else if constexpr (std::ratio_equal_v<P, std::micro>) {
    text += "us";
  } else if constexpr (std::ratio_equal_v<P, std::milli>) {
    text += "ms";
  } else if constexpr (std::ratio_equal_v<P, std::ratio<60>>) {
    text += "min";
  } else if constexpr (std::ratio_equal_v<P, std::ratio<3600>>) {
    text += "h";
  } else {
    if constexpr (!std::ratio_equal_v<P, std::ratio<1>>)
      text += "[" + std::to_string(P::num) + "/" + std::to_string(P::den) + "]";
    text += "s";
  }
}

template <class T>
void show_members(std::string& text, const T& value) {
  text += name_of_type<T>();
  text += '{';
  bool first = true;
  for_each_member(value, [&](const auto& member) {
    if (!first) text += ", ";
    first = false;
    show_to(text, member);
  });
  text += '}';
}

template <class T>
void show_streamed(std::string& text, const T& value) {
  std::ostringstream stream;
  stream << value;
  text += stream.str();
}

/// Adds the value as text: numbers, strings in quotes, what has `operator<<` as that writes it, containers and tuples
/// with their elements, aggregates member by member.
template <class T>
void show_to(std::string& text, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    text += value ? "true" : "false";
  } else if constexpr (std::is_same_v<T, char>) {
    show_quoted(text, {&value, 1}, '\'');
  } else if constexpr (std::is_same_v<T, wchar_t> || std::is_same_v<T, char8_t> || std::is_same_v<T, char16_t> ||
                       std::is_same_v<T, char32_t>) {
    show_number(text, static_cast<std::uint32_t>(value));
  } else if constexpr (std::is_arithmetic_v<T>) {
    show_number(text, value);
  } else if constexpr (std::is_null_pointer_v<T>) {
    text += "nullptr";
  } else if constexpr (std::is_enum_v<T> && !streamable<T>) {
    text += std::string(name_of_type<T>()) + "(" + std::to_string(static_cast<std::underlying_type_t<T>>(value)) + ")";
  } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    if constexpr (std::is_pointer_v<T>) {
      if (value == nullptr) {
        text += "nullptr";
        return;
      }
    }
    show_quoted(text, std::string_view(value), '"');
  } else if constexpr (shown_as_future<T>) {
    show_future(text, value);
  } else if constexpr (shown_as_channel<T>) {
    text += std::string(name_of_type<T>()) + " on process " + std::to_string(value.where());
  } else if constexpr (shown_as_optional<T>) {
    if (value)
      show_to(text, *value);
    else
      text += "nullopt";
  } else if constexpr (shown_as_variant<T>) {
    std::visit([&](const auto& one) { show_to(text, one); }, value);
  } else if constexpr (shown_as_duration<T>) {
    show_duration(text, value);
  } else if constexpr (std::is_array_v<T>) {
    text += '{';
    for (std::size_t i = 0; i < std::extent_v<T>; ++i) {
      if (i > 0) text += ", ";
      show_to(text, value[i]);
    }
    text += '}';
  } else if constexpr (pointer_like<T>) {
    if (value)
      show_to(text, *value);
    else
      text += "nullptr";
  } else if constexpr (std::is_function_v<std::remove_pointer_t<T>>) {
    text += "function " + std::string(name_of_type<std::remove_pointer_t<T>>());
  } else if constexpr (streamable<T> && !becomes_function<T>) {
    show_streamed(text, value);
  } else if constexpr (ranged<T>) {
    show_range(text, value);
  } else if constexpr (tuple_like<T>) {
    text += '(';
    std::apply(
        [&](const auto&... one) {
          bool first = true;
          ((text += first ? "" : ", ", first = false, show_to(text, one)), ...);
        },
        value);
    text += ')';
  } else if constexpr (has_call_operator<T>) {
    text += "function object";
  } else if constexpr (plain_aggregate<T>) {
    show_members(text, value);
  } else {
    text += "<" + std::string(name_of_type<T>()) + ">";
  }
}

/// The value as text.
template <class T>
std::string show(const T& value) {
  std::string text;
  show_to(text, value);
  return text;
}

}  // namespace muster::detail
