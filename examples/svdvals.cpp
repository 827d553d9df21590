/// @file
/// Singular values of many matrices of different size: `pmap` at its simplest. Each call is substantial, so one element
/// at a time is sent to whichever worker is free, and a big matrix delays nobody but the worker that has it.
#include "example.hpp"

#include <muster/serialize/eigen.hpp>

#include <Eigen/Dense>

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

Eigen::VectorXd svdvals(const Eigen::MatrixXd& matrix) {
  return Eigen::BDCSVD<Eigen::MatrixXd>(matrix).singularValues();
}

/// Random matrices, the big ones first: a long task that starts last keeps everybody waiting.
std::vector<Eigen::MatrixXd> random_matrices(int count, int largest) {
  std::srand(1);  // Eigen's Random draws from std::rand
  std::vector<Eigen::MatrixXd> matrices;
  for (int i = count; i > 0; --i)
    matrices.emplace_back(Eigen::MatrixXd::Random(largest * i / count, largest * i / count));
  return matrices;
}

/// Singular values agree with the serial ones, and their squares add up to those of the matrix's elements.
bool right(const Eigen::VectorXd& values, const Eigen::VectorXd& expected, const Eigen::MatrixXd& matrix) {
  return values.size() == expected.size() && values.isApprox(expected, 1e-12) &&
         std::abs(values.norm() - matrix.norm()) < 1e-9 * matrix.norm();
}

}  // namespace

int main(int argc, char** argv) {
  const muster::Session session(argc, argv);
  CLI::App app("Computes the singular values of many matrices");
  const example::Options options(app);
  CLI11_PARSE(app, argc, argv);

  const std::vector<Eigen::MatrixXd> matrices = options.quick ? random_matrices(8, 40) : random_matrices(32, 480);

  const auto [expected, serial_seconds] = example::timed([&] {
    std::vector<Eigen::VectorXd> all;
    all.reserve(matrices.size());
    for (const Eigen::MatrixXd& matrix : matrices) all.push_back(svdvals(matrix));
    return all;
  });

  example::start_workers(options);
  const auto [values, parallel_seconds] = example::timed(
      [&] { return muster::pmap(svdvals, matrices, muster::PmapOptions{.progress = "singular values"}); });

  bool same = values.size() == expected.size();
  for (std::size_t i = 0; same && i < values.size(); ++i) same = right(values[i], expected[i], matrices[i]);
  std::printf("%zu matrices from %ldx%ld down to %ldx%ld; the largest singular value of the first is %.6f\n",
              matrices.size(), static_cast<long>(matrices.front().rows()), static_cast<long>(matrices.front().cols()),
              static_cast<long>(matrices.back().rows()), static_cast<long>(matrices.back().cols()), values.front()(0));
  return example::conclude(serial_seconds, parallel_seconds, same);
}
