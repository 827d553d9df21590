/// @file
/// Eigen's dense matrices, vectors and arrays as arguments and results: include this where they are sent. Their
/// coefficients travel as one block, without intermediate copies. (Expressions don't travel: send `.eval()`.)
#pragma once

#include <muster/detail/archive.hpp>

#include <Eigen/Core>

namespace muster::detail {

/// Rows, columns (where they are not fixed), coefficients in storage order.
template <class Dense>
struct DenseCodec {
  using Scalar = typename Dense::Scalar;
  using Elements = TypeList<Scalar>;
  static constexpr Eigen::Index fixed_rows = Dense::RowsAtCompileTime;
  static constexpr Eigen::Index fixed_columns = Dense::ColsAtCompileTime;
  static constexpr std::size_t least_bytes =
      (fixed_rows == Eigen::Dynamic ? 1 : 0) + (fixed_columns == Eigen::Dynamic ? 1 : 0);

  static void save(OutputArchive& archive, const Dense& dense) {
    if constexpr (fixed_rows == Eigen::Dynamic) archive.write_count(static_cast<std::size_t>(dense.rows()));
    if constexpr (fixed_columns == Eigen::Dynamic) archive.write_count(static_cast<std::size_t>(dense.cols()));
    const auto count = static_cast<std::size_t>(dense.size());
    if constexpr (plain<Scalar>) {
      archive.write_block(dense.data(), count * sizeof(Scalar));
    } else {
      for (std::size_t i = 0; i < count; ++i) archive.write(dense.data()[i]);
    }
  }

  static Dense make(InputArchive& archive) {
    const std::size_t rows = read_extent(archive, fixed_rows, Dense::MaxRowsAtCompileTime);
    const std::size_t columns = read_extent(archive, fixed_columns, Dense::MaxColsAtCompileTime);
    if (columns != 0 && rows > largest / columns)
      archive.throw_invalid("a matrix has more coefficients than memory can hold");
    Dense dense;
    if constexpr (plain<Scalar>) {
      const std::byte* bytes = archive.read_block(rows * columns, sizeof(Scalar));
      resize(dense, rows, columns);
      if (rows * columns != 0) std::memcpy(static_cast<void*>(dense.data()), bytes, rows * columns * sizeof(Scalar));
      for (std::size_t i = 0; find_bools<Scalar>() && i < rows * columns; ++i) check_bools(archive, dense.data()[i]);
    } else {
      if (rows * columns > archive.left()) archive.throw_invalid("a matrix has more coefficients than bytes are left");
      resize(dense, rows, columns);
      for (std::size_t i = 0; i < rows * columns; ++i) archive.read(dense.data()[i]);
    }
    return dense;
  }

 private:
  static constexpr std::size_t largest = static_cast<std::size_t>(-1) / 2 / sizeof(Scalar);

  static std::size_t read_extent(InputArchive& archive, Eigen::Index fixed, Eigen::Index most) {
    if (fixed != Eigen::Dynamic) return static_cast<std::size_t>(fixed);
    const std::size_t extent = archive.read_size();
    if (extent > largest || (most != Eigen::Dynamic && extent > static_cast<std::size_t>(most))) {
      archive.throw_invalid("a matrix has more rows or columns than its type allows");
    }
    return extent;
  }
  static void resize(Dense& dense, std::size_t rows, std::size_t columns) {
    dense.resize(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns));
  }
};

template <class S, int R, int C, int O, int MR, int MC>
struct Codec<Eigen::Matrix<S, R, C, O, MR, MC>> : DenseCodec<Eigen::Matrix<S, R, C, O, MR, MC>> {};
template <class S, int R, int C, int O, int MR, int MC>
struct Codec<Eigen::Array<S, R, C, O, MR, MC>> : DenseCodec<Eigen::Array<S, R, C, O, MR, MC>> {};

}  // namespace muster::detail
