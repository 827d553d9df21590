/// @file
/// RGB pixels as PNG (https://www.w3.org/TR/png-3/): a signature, and chunks of which three are needed.
#include <muster/display.hpp>

#include <zlib.h>

#include <cstdint>
#include <stdexcept>
#include <string_view>

namespace muster {

namespace {

void append_number(std::string& bytes, std::uint32_t number) {
  for (const unsigned shift : {24U, 16U, 8U, 0U}) bytes += static_cast<char>(number >> shift & 0xffU);
}

const Bytef* raw(const std::string& bytes) { return reinterpret_cast<const Bytef*>(bytes.data()); }

/// Length, type, content, and the sum that guards the latter two.
void append_chunk(std::string& png, std::string_view type, const std::string& content) {
  append_number(png, static_cast<std::uint32_t>(content.size()));
  const std::string guarded = std::string(type) + content;
  png += guarded;
  append_number(png, static_cast<std::uint32_t>(::crc32_z(0, raw(guarded), guarded.size())));
}

std::string compressed(const std::string& bytes) {
  uLongf size = ::compressBound(bytes.size());
  std::string result(size, '\0');
  if (::compress2(reinterpret_cast<Bytef*>(result.data()), &size, raw(bytes), bytes.size(), 6) != Z_OK)
    throw std::runtime_error("no memory for the picture");
  result.resize(size);
  return result;
}

}  // namespace

MimeBundle mime_bundle_repr(const RgbImage& image) {
  constexpr std::size_t longest_side = 32768;  // far beyond what a notebook shows; no product of sizes overflows
  const bool sound = image.width > 0 && image.height > 0 && image.width <= longest_side &&
                     image.height <= longest_side && image.rgb.size() == 3 * image.width * image.height;
  const std::string size = std::to_string(image.width) + " x " + std::to_string(image.height);
  if (!sound)
    throw std::invalid_argument("an RgbImage of " + size + " pixels has " + std::to_string(image.rgb.size()) +
                                " bytes: each pixel takes 3, and a side is 1 to 32768 pixels");
  std::string header;
  append_number(header, static_cast<std::uint32_t>(image.width));
  append_number(header, static_cast<std::uint32_t>(image.height));
  header += std::string{8, 2, 0, 0, 0};  // bits a sample, red-green-blue, and the only methods that are defined
  std::string rows;
  rows.reserve((3 * image.width + 1) * image.height);
  for (std::size_t y = 0; y < image.height; ++y) {
    rows += '\1';  // each byte less the one a pixel before: flat areas become zeros
    for (std::size_t x = 0; x < 3 * image.width; ++x) {
      const std::size_t at = 3 * image.width * y + x;
      rows += static_cast<char>(image.rgb[at] - (x < 3 ? 0 : image.rgb[at - 3]));
    }
  }
  std::string png = "\x89PNG\r\n\x1a\n";
  append_chunk(png, "IHDR", header);
  append_chunk(png, "IDAT", compressed(rows));
  append_chunk(png, "IEND", {});
  return {{{"image/png", png}, {"text/plain", "RgbImage of " + size + " pixels"}}};
}

}  // namespace muster
