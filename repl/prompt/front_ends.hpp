/// @file
/// Which front end a session has, and where its cells go.
#pragma once

#include "repl/front_end/front_end.hpp"
#include "repl/prompt/options.hpp"

#include <memory>
#include <string>

namespace muster::repl {

/// A folder for the session's cells, gone with it.
class CellFolder {
 public:
  CellFolder();
  ~CellFolder();
  CellFolder(const CellFolder&) = delete;
  CellFolder& operator=(const CellFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// The front end that the command line asks for; otherwise clang where it is installed, else g++.
/// @param warm see FrontEndOptions
/// @throws std::runtime_error, std::invalid_argument where there is none of that name
std::unique_ptr<FrontEnd> make_front_end(const Options& options, const std::string& folder, bool warm);

}  // namespace muster::repl
