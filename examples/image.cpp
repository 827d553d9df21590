/// @file
/// A picture of the Mandelbrot set, put together from tiles. A tile inside the set costs a hundred times one far away;
/// as each worker gets a new tile when it is done with one, all are busy to the end. `--tint` shows who did what.
#include "example.hpp"
#include "png.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <numbers>
#include <string>
#include <vector>

namespace {

constexpr std::size_t tile_side = 64;

/// What to show: the point at the top left corner, and the side of a pixel, in the complex plane.
struct View {
  double left, top, step;
  std::size_t width, height;
  int most_iterations;

  std::size_t columns() const { return (width + tile_side - 1) / tile_side; }
  std::size_t rows() const { return (height + tile_side - 1) / tile_side; }
};

struct Tile {
  muster::Pid worker;
  std::vector<example::Rgb> pixels;
};

/// Returns after how many iterations z -> z^2 + c leaves a big circle, with a fraction that makes it smooth in c; -1
/// for a point that stays.
double escape(double re, double im, int most_iterations) {
  double x = 0;
  double y = 0;
  for (int iteration = 0; iteration < most_iterations; ++iteration) {
    const double xx = x * x;
    const double yy = y * y;
    if (xx + yy > 1e6) return std::max(0.0, 4 + iteration - std::log2(std::log2(xx + yy)));
    y = 2 * x * y + im;
    x = xx - yy + re;
  }
  return -1;
}

/// Red, green and blue as waves along `turns`, each `shift` of a turn behind the one before.
example::Rgb waves(double turns, double shift) {
  const auto wave = [](double x) {
    return static_cast<std::uint8_t>(std::lround(127.5 + 127.5 * std::cos(2 * std::numbers::pi * x)));
  };
  return {wave(turns), wave(turns - shift), wave(turns - 2 * shift)};
}

/// Calls `use(x, y)` for the pixels of tile `number`, row by row; the tiles at the edge may be smaller.
template <class Use>
void for_each_pixel(const View& view, std::size_t number, Use use) {
  const std::size_t left = number % view.columns() * tile_side;
  const std::size_t top = number / view.columns() * tile_side;
  for (std::size_t y = top; y < std::min(top + tile_side, view.height); ++y) {
    for (std::size_t x = left; x < std::min(left + tile_side, view.width); ++x) use(x, y);
  }
}

Tile render(const View& view, std::size_t number) {
  Tile tile{.worker = muster::myid(), .pixels = {}};
  for_each_pixel(view, number, [&](std::size_t x, std::size_t y) {
    const double escaped = escape(view.left + static_cast<double>(x) * view.step,
                                  view.top - static_cast<double>(y) * view.step, view.most_iterations);
    tile.pixels.push_back(escaped < 0 ? example::Rgb{} : waves(0.45 * std::log2(escaped + 1), 0.08));
  });
  return tile;
}

/// Mixes one part of `paint` into two parts of `pixel`.
example::Rgb tinted(example::Rgb pixel, example::Rgb paint) {
  const auto mix = [](std::uint8_t a, std::uint8_t b) { return static_cast<std::uint8_t>((2 * a + b) / 3); };
  return {mix(pixel.red, paint.red), mix(pixel.green, paint.green), mix(pixel.blue, paint.blue)};
}

}  // namespace

int main(int argc, char** argv) {
  const muster::Session session(argc, argv);
  CLI::App app("Draws the Mandelbrot set");
  const example::Options options(app);
  std::string out = "mandelbrot.png";
  bool tint = false;
  app.add_option("--out", out, "PNG file to write")->capture_default_str();
  app.add_flag("--tint", tint, "colour each tile by the worker that computed it");
  CLI11_PARSE(app, argc, argv);

  const std::size_t width = options.quick ? 320 : 1920;
  const View view{.left = -2.35,
                  .top = 1.2,
                  .step = 3.6 / static_cast<double>(width),
                  .width = width,
                  .height = width * 2 / 3,
                  .most_iterations = options.quick ? 200 : 2000};
  const muster::IndexRange tiles{0, view.columns() * view.rows()};

  const auto [expected, serial_seconds] = example::timed([&] {
    std::vector<Tile> all;
    for (const std::size_t number : tiles) all.push_back(render(view, number));
    return all;
  });

  example::start_workers(options);
  example::Image image{view.width, view.height};
  const auto [same, parallel_seconds] = example::timed([&] {
    bool all_same = true;
    const auto render_tile = [view](std::size_t number) { return render(view, number); };
    for (auto&& [number, tile] : muster::pmap_unordered(render_tile, tiles, muster::PmapOptions{.progress = "tiles"})) {
      all_same = all_same && tile.pixels == expected[number].pixels;
      const example::Rgb paint = waves(0.381966 * tile.worker, 0.333);  // steps of the golden ratio: hues far apart
      auto next = tile.pixels.begin();
      for_each_pixel(view, number, [&](std::size_t x, std::size_t y) {
        image.at(x, y) = tint ? tinted(*next, paint) : *next;
        ++next;
      });
    }
    return all_same;
  });

  example::write_png(image, out);
  std::printf("%s: %zux%zu pixels in %zu tiles\n", out.c_str(), image.width, image.height, tiles.size());
  return example::conclude(serial_seconds, parallel_seconds, same);
}
