/// @file
/// From LLVM's intermediate code to a small shared object.
#pragma once

#include "repl/front_end/front_end.hpp"

#include <clang/Interpreter/IncrementalExecutor.h>
#include <llvm/IR/Module.h>
#include <llvm/Target/TargetMachine.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace muster::repl {

/// Stands where clang::Interpreter expects somebody who executes code, and writes shared objects instead.
class Emitter : public clang::IncrementalExecutor {
 public:
  Emitter(std::unique_ptr<llvm::TargetMachine> machine, std::string folder);

  /// Cells made from here on are called after this, and cells() has them alone.
  void begin(std::string name);
  const std::vector<Cell>& cells() const { return cells_; }

  llvm::Error addModule(clang::PartialTranslationUnit& unit) override;
  llvm::Error removeModule(clang::PartialTranslationUnit& unit) override;
  llvm::Error runCtors() const override;
  llvm::Error cleanUp() override;
  llvm::Expected<llvm::orc::ExecutorAddr> getSymbolAddress(llvm::StringRef name, SymbolNameKind kind) const override;
  llvm::Error LoadDynamicLibrary(const char* name) override;

 private:
  void leave_out_known(llvm::Module& module) const;
  void optimize(llvm::Module& module) const;
  llvm::Error write_object(llvm::Module& module, const std::string& path) const;
  llvm::Error link(const std::string& object, const std::string& result) const;
  void remember(const llvm::Module& module, const std::string& path);

  std::unique_ptr<llvm::TargetMachine> machine_;
  std::string folder_;
  std::vector<Cell> cells_;
  std::string name_;
  std::map<std::string, std::string, std::less<>> defined_in_;  ///< symbol to the cell that has it
};

}  // namespace muster::repl
