/// @file
/// Rich results at the prompt and in notebooks: values that show themselves as a picture, as HTML, or otherwise.
///
/// What this declares is defined in the programs `muster` and `muster-kernel`.
#pragma once

#include <muster/detail/show.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace muster {

/// One value in several forms, of which whoever shows it takes the best that it can: a notebook pictures and HTML, a
/// terminal `text/plain`.
struct MimeBundle {
  /// MIME type -> content. Bytes as they are: a notebook's base64 is not its maker's business.
  std::map<std::string, std::string> data = {};
};

/// A picture: rows of pixels from the top down, three bytes each (red, green, blue). It shows itself as image/png.
struct RgbImage {
  std::size_t width = 0;                                                          ///< in pixels
  std::size_t height = 0;                                                         ///< in pixels
  std::vector<std::uint8_t> rgb = std::vector<std::uint8_t>(3 * width * height);  ///< black to begin with
};

/// The picture as PNG. A function of this name beside a type of yours, `MimeBundle mime_bundle_repr(const Yours&)`,
/// makes its values rich: those that an input is worth, and those given to display().
/// @throws std::invalid_argument where the pixels are not width * height * 3 bytes
MimeBundle mime_bundle_repr(const RgbImage& image);

/// Types that show themselves in a way of their own.
template <class T>
concept Rich = requires(const T& value) {
  { mime_bundle_repr(value) } -> std::convertible_to<MimeBundle>;
};

/// Shows this now, in the middle of an input. On a worker: its `text/plain` is printed, as all that workers print.
void display(const MimeBundle& bundle);

namespace detail {

/// The forms of a value: its own where it is rich, else the text that the prompt prints.
template <class T>
MimeBundle bundle_of(const T& value) {
  if constexpr (std::same_as<T, MimeBundle>) {
    return value;
  } else if constexpr (Rich<T>) {
    return mime_bundle_repr(value);
  } else {
    return {{{"text/plain", show(value)}}};
  }
}

}  // namespace detail

/// The same for a value: rich, or as the prompt prints it.
template <class T>
void display(const T& value) {
  display(detail::bundle_of(value));
}

}  // namespace muster
