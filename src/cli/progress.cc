// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <atomic>
#include <csignal>
#include <cstdio>

#include "cli/messages.h"
#include "cli/options.h"

namespace byre::cli {
namespace {

// Set by SIGUSR1, cleared by the next update.
std::atomic<bool> g_is_asked{false};

extern "C" void ask_for_progress(int) {
  g_is_asked.store(true, std::memory_order_relaxed);
}

}  // namespace

ProgressStyle parse_progress_style(const std::string& text) {
  if (text == "json") return ProgressStyle::kJson;
  if (text == "text") return ProgressStyle::kText;
  throw UsageError("--progress expects 'text' or 'json' not '" + text + "'");
}

ProgressPrinter::ProgressPrinter(ProgressStyle style, double step_percent)
    : style_(style), step_percent_(step_percent) {
  struct sigaction action{};
  action.sa_handler = ask_for_progress;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  if (style_ == ProgressStyle::kText) print();
}

ProgressPrinter::~ProgressPrinter() {
  // Not reset to the default: a late signal must not kill the process.
  std::signal(SIGUSR1, SIG_IGN);
  if (style_ != ProgressStyle::kText) return;
  cli::print("\n");
  write_out();
}

void ProgressPrinter::update(uint64_t done, uint64_t total) {
  // A job that reports completion twice has finished: that is always shown.
  const bool is_final = done == total && done_ == done && total_ == total;
  done_ = done;
  total_ = total;
  percent_ = total == 0 ? 100.0 : 100.0 * static_cast<double>(done) / static_cast<double>(total);
  if (style_ == ProgressStyle::kNone) {
    if (g_is_asked.exchange(false, std::memory_order_relaxed)) print();
    return;
  }
  if (percent_ - printed_percent_ >= step_percent_ || percent_ < printed_percent_ || is_final) {
    print();
  }
}

void ProgressPrinter::print() {
  printed_percent_ = percent_;
  switch (style_) {
    case ProgressStyle::kNone:
      std::fprintf(stderr, "    (%3.2f/100%%)\n", percent_);
      break;
    case ProgressStyle::kText:
      std::printf("    (%3.2f/100%%)\r", percent_);
      write_out();
      break;
    case ProgressStyle::kJson:
      std::fprintf(stderr, "{\"done\": %llu, \"total\": %llu, \"percent\": %.2f}\n",
                   static_cast<unsigned long long>(done_), static_cast<unsigned long long>(total_),
                   percent_);
      break;
  }
}

}  // namespace byre::cli
