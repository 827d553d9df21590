#include "repl/clang/emitter.hpp"

#include <clang/Interpreter/PartialTranslationUnit.h>
#include <fcntl.h>
#include <link.h>
#include <llvm/ExecutionEngine/Orc/Shared/ExecutorAddress.h>
#include <llvm/IR/Constants.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/raw_ostream.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string_view>

namespace muster::repl {

namespace {

/// Functions up to so many instructions are worth inlining although an earlier cell has them.
constexpr unsigned worth_inlining = 25;

/// Without the C library on the link line references to it carry no version, and bind to the oldest one.
const std::vector<std::string>& system_libraries() {
  static const std::vector<std::string> paths = [] {
    std::vector<std::string> found;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* result) {
          const std::string_view name = info->dlpi_name;
          if (name.find("/libc.so") != std::string_view::npos || name.find("/libm.so") != std::string_view::npos)
            static_cast<std::vector<std::string>*>(result)->emplace_back(name);
          return 0;
        },
        &found);
    return found;
  }();
  return paths;
}

bool is_empty(const llvm::Module& module) {
  for (const llvm::GlobalValue& value : module.global_values())
    if (!value.isDeclaration() && !value.getName().starts_with("llvm.")) return false;
  return true;
}

/// Takes the static initialisers out of what the loader runs, and puts them into a function: so no code of users' runs
/// inside dlopen, exceptions can be caught, and a worker may load code without running it.
void lift_initialisers(llvm::Module& module, const std::string& start) {
  std::vector<llvm::Function*> initialisers;
  if (llvm::GlobalVariable* list = module.getGlobalVariable("llvm.global_ctors")) {
    if (list->hasInitializer()) {
      if (auto* entries = llvm::dyn_cast<llvm::ConstantArray>(list->getInitializer())) {
        for (const llvm::Use& entry : entries->operands())
          if (auto* fields = llvm::dyn_cast<llvm::ConstantStruct>(entry))
            if (auto* function = llvm::dyn_cast<llvm::Function>(fields->getOperand(1)->stripPointerCasts()))
              initialisers.push_back(function);
      }
    }
    list->eraseFromParent();
  }
  llvm::LLVMContext& context = module.getContext();
  auto* function = llvm::Function::Create(llvm::FunctionType::get(llvm::Type::getVoidTy(context), false),
                                          llvm::GlobalValue::ExternalLinkage, start, module);
  function->setUWTableKind(llvm::UWTableKind::Async);
  llvm::IRBuilder<> builder(llvm::BasicBlock::Create(context, "", function));
  for (llvm::Function* initialiser : initialisers) {
    builder.CreateCall(initialiser);
    initialiser->removeFnAttr(llvm::Attribute::NoUnwind);
    initialiser->setSection("");
  }
  builder.CreateRetVoid();
}

/// crtbeginS.o would define it; each module has its own.
void define_dso_handle(llvm::Module& module) {
  llvm::GlobalVariable* handle = module.getNamedGlobal("__dso_handle");
  if (handle == nullptr || !handle->isDeclaration()) return;
  handle->setInitializer(llvm::Constant::getNullValue(handle->getValueType()));
  handle->setVisibility(llvm::GlobalValue::HiddenVisibility);
  handle->setDSOLocal(true);
}

/// Functions of muster's templates pack and unpack what is sent, once a call: optimising them is most of what an input
/// costs, and gains nothing. What somebody typed, and the standard library, are optimised.
void leave_as_they_are(llvm::Module& module) {
  for (llvm::Function& function : module) {
    const llvm::StringRef name = function.getName();
    const bool of_muster = name.starts_with("_ZN6muster") || name.starts_with("_ZNK6muster");
    if (function.isDeclaration() || !of_muster || function.hasFnAttribute(llvm::Attribute::AlwaysInline)) continue;
    function.addFnAttr(llvm::Attribute::OptimizeNone);
    function.addFnAttr(llvm::Attribute::NoInline);
  }
}

int run(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = -1;
  int status = -1;
  if (posix_spawnp(&pid, arguments[0], nullptr, nullptr, arguments.data(), environ) != 0) return -1;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

Emitter::Emitter(std::unique_ptr<llvm::TargetMachine> machine, std::string folder)
    : machine_(std::move(machine)), folder_(std::move(folder)) {}

void Emitter::begin(std::string name) {
  name_ = std::move(name);
  cells_.clear();
}

llvm::Error Emitter::addModule(clang::PartialTranslationUnit& unit) {
  llvm::Module& module = *unit.TheModule;
  if (is_empty(module)) return llvm::Error::success();
  const std::string name = "muster_cell_" + name_ + "_" + std::to_string(cells_.size());
  const std::string object = folder_ + "/" + name + ".o", result = folder_ + "/" + name + ".so";
  lift_initialisers(module, "start_" + name);
  define_dso_handle(module);
  leave_out_known(module);
  module.setDataLayout(machine_->createDataLayout());
  optimize(module);
  if (llvm::Error error = write_object(module, object)) return error;
  llvm::Error error = link(object, result);
  ::unlink(object.c_str());
  if (error) return error;
  remember(module, result);
  cells_.push_back({result, "start_" + name});
  return llvm::Error::success();
}

/// Clang emits every inline function and template again in each cell that uses it. What an earlier cell has is used
/// from there: that is most of the work of a typical input.
void Emitter::leave_out_known(llvm::Module& module) const {
  for (llvm::Function& function : module) {
    if (function.isDeclaration() || !function.hasLinkOnceLinkage()) continue;
    if (defined_in_.find(function.getName()) == defined_in_.end()) continue;
    function.setComdat(nullptr);
    if (function.getInstructionCount() <= worth_inlining) {
      function.setLinkage(llvm::GlobalValue::AvailableExternallyLinkage);
    } else {
      function.deleteBody();
      function.setLinkage(llvm::GlobalValue::ExternalLinkage);
    }
  }
}

void Emitter::optimize(llvm::Module& module) const {
  leave_as_they_are(module);
  llvm::PassBuilder builder(machine_.get());
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2).run(module, modules);
}

llvm::Error Emitter::write_object(llvm::Module& module, const std::string& path) const {
  std::error_code error;
  llvm::raw_fd_ostream file(path, error);
  if (error) return llvm::createStringError(error, "can't write %s", path.c_str());
  llvm::legacy::PassManager passes;
  if (machine_->addPassesToEmitFile(passes, file, nullptr, llvm::CodeGenFileType::ObjectFile))
    return llvm::createStringError("this target has no object files");
  passes.run(module);
  return llvm::Error::success();
}

llvm::Error Emitter::link(const std::string& object, const std::string& result) const {
  std::vector<std::string> command{"ld",
                                   "-shared",
                                   "--build-id=sha1",
                                   "--hash-style=gnu",
                                   "--eh-frame-hdr",
                                   "-z",
                                   "noseparate-code",
                                   "-soname",
                                   result.substr(folder_.size() + 1),
                                   "-o",
                                   result,
                                   object,
                                   "--as-needed"};
  command.insert(command.end(), system_libraries().begin(), system_libraries().end());
  if (run(command) != 0)
    return llvm::createStringError("the linker (ld, of the package binutils) failed on this input");
  return llvm::Error::success();
}

void Emitter::remember(const llvm::Module& module, const std::string& path) {
  for (const llvm::GlobalValue& value : module.global_values()) {
    if (value.isDeclarationForLinker() || value.hasLocalLinkage() || value.hasHiddenVisibility()) continue;
    defined_in_.emplace(value.getName().str(), path);
  }
}

llvm::Error Emitter::removeModule(clang::PartialTranslationUnit& /*unit*/) { return llvm::Error::success(); }
llvm::Error Emitter::runCtors() const { return llvm::Error::success(); }
llvm::Error Emitter::cleanUp() { return llvm::Error::success(); }
llvm::Expected<llvm::orc::ExecutorAddr> Emitter::getSymbolAddress(llvm::StringRef /*name*/,
                                                                  SymbolNameKind /*kind*/) const {
  return llvm::createStringError("cells are not executed here");
}
llvm::Error Emitter::LoadDynamicLibrary(const char* /*name*/) { return llvm::Error::success(); }

}  // namespace muster::repl
