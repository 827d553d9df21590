/// @file
/// A picture in memory, and how to write it as a PNG file with libpng's simplified interface.
#pragma once

#include <png.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace example {

/// One pixel, as PNG stores it.
struct Rgb {
  std::uint8_t red = 0;
  std::uint8_t green = 0;
  std::uint8_t blue = 0;

  bool operator==(const Rgb&) const = default;
};

/// Rows of pixels, from the top down.
struct Image {
  std::size_t width;
  std::size_t height;
  std::vector<Rgb> pixels = std::vector<Rgb>(width * height);

  Rgb& at(std::size_t x, std::size_t y) { return pixels.at(y * width + x); }
};

/// Writes the picture to a file. Throws `std::runtime_error` with libpng's words when that fails.
inline void write_png(const Image& image, const std::string& path) {
  static_assert(sizeof(Rgb) == 3);
  png_image description{};
  description.version = PNG_IMAGE_VERSION;
  description.width = static_cast<png_uint_32>(image.width);
  description.height = static_cast<png_uint_32>(image.height);
  description.format = PNG_FORMAT_RGB;
  if (png_image_write_to_file(&description, path.c_str(), 0, image.pixels.data(), 0, nullptr) == 0) {
    throw std::runtime_error("cannot write " + path + ": " + description.message);
  }
}

}  // namespace example
