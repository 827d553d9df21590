/// @file
/// What the program and the plugin `shapes` both know.
#pragma once

#include <stdexcept>
#include <string>

/// Thrown by the plugin, which registers it, and caught elsewhere.
struct ShapeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A base class in the program, derived from in the plugin.
struct Shape {
  Shape() = default;
  Shape(const Shape&) = delete;
  Shape& operator=(const Shape&) = delete;
  virtual ~Shape() = default;
  virtual double area() const = 0;
};
