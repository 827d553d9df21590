#include "cluster_managers/ssh/gzip.hpp"

#include <muster/errors.hpp>

#include <zlib.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace muster::runtime::ssh {

std::string gzipped(std::string_view contents) {
  constexpr int gzip_format = 16;  // zlib's way to ask for it: added to the window's size
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, MAX_WBITS + gzip_format, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw Error("zlib has no memory left");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> owned(&stream, deflateEnd);
  std::string small;
  std::vector<Bytef> part(std::size_t{1} << 18);
  int outcome = Z_OK;
  while (outcome != Z_STREAM_END) {
    if (stream.avail_in == 0) {  // its sizes are of 32 bits
      const std::size_t next = std::min<std::size_t>(contents.size(), std::size_t{1} << 30);
      stream.next_in = reinterpret_cast<z_const Bytef*>(const_cast<char*>(contents.data()));  // which it only reads
      stream.avail_in = static_cast<uInt>(next);
      contents.remove_prefix(next);
    }
    stream.next_out = part.data();
    stream.avail_out = static_cast<uInt>(part.size());
    outcome = deflate(&stream, contents.empty() ? Z_FINISH : Z_NO_FLUSH);
    if (outcome == Z_STREAM_ERROR) throw Error("zlib could not compress a file");
    small.append(reinterpret_cast<const char*>(part.data()), part.size() - stream.avail_out);
  }
  return small;
}

}  // namespace muster::runtime::ssh
