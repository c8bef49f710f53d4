// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "cli/command.h"
#include "cli/image_opts.h"
#include "cli/messages.h"
#include "cli/numbers.h"
#include "cli/options.h"
#include "cli/signals.h"
#include "cli/sizes.h"
#include "jobs/bench.h"
#include "storage/cache_mode.h"

namespace byre::cli {
namespace {

constexpr int kPattern = kLongOnly + 1;
constexpr int kFlushInterval = kLongOnly + 2;
constexpr int kNoDrain = kLongOnly + 3;
constexpr int kOutput = kLongOnly + 4;

struct BenchArguments {
  jobs::BenchJob job;
  bool image_opts = false;
  std::optional<uint64_t> step;
  OutputFormat output = OutputFormat::kHuman;
};

Error refusal(std::string message) {
  return Error(ErrorKind::kInvalidArgument, EINVAL, std::move(message));
}

uint64_t parse_count(const char* what, const std::string& text, int64_t min, int64_t max) {
  return static_cast<uint64_t>(parse_number_argument(what, text, min, max));
}

void set_aio(jobs::BenchJob& job, const std::string& text) {
  if (text == "threads") {
    job.image.io = storage::IoBackend::kThreads;
  } else if (text == "io_uring") {
    job.image.io = storage::IoBackend::kUring;
  } else if (text == "native") {
    job.native_aio = true;
  } else {
    throw refusal("Invalid aio option: " + text);
  }
}

void set_cache(jobs::BenchJob& job, const std::string& text) {
  const std::optional<storage::CacheMode> mode = storage::parse_cache_mode(text);
  if (!mode) throw refusal("Invalid cache mode");
  job.image.cache = *mode;
}

// Those that say which requests are sent.
void read_request_option(BenchArguments& arguments, int option, const std::string& text) {
  jobs::BenchRequests& requests = arguments.job.requests;
  switch (option) {
    case 'c':
      requests.count = parse_count("request count", text, 1, INT32_MAX);
      break;
    case 'd':
      requests.depth = parse_count("queue depth", text, 1, INT32_MAX);
      break;
    case 'o':
      requests.offset = parse_size_argument("offset", text);
      break;
    case 's':
      requests.length = parse_size_argument("buffer size", text, 1, INT32_MAX);
      break;
    case 'S':
      arguments.step = parse_size_argument("step size", text, 0, INT32_MAX);
      break;
    case 'w':
      requests.writes = true;
      break;
    case kPattern:
      requests.pattern = static_cast<uint8_t>(parse_count("pattern byte", text, 0, 0xff));
      break;
    case kFlushInterval:
      requests.flush_interval = parse_count("flush interval", text, 0, INT32_MAX);
      break;
    case kNoDrain:
      requests.drains = false;
      break;
    default:
      break;
  }
}

void check_requests(BenchArguments& arguments) {
  jobs::BenchRequests& requests = arguments.job.requests;
  if (!requests.writes && requests.flush_interval != 0) {
    throw refusal("--flush-interval is only available in write tests");
  }
  if (requests.flush_interval != 0 && requests.flush_interval < requests.depth) {
    throw refusal("Flush interval can't be smaller than depth");
  }
  const bool has_step = arguments.step.has_value() && *arguments.step != 0;
  requests.step = has_step ? *arguments.step : requests.length;
}

BenchArguments read_arguments(Invocation& invocation) {
  BenchArguments arguments;
  arguments.job.image.on_warning = open_warning_printer(invocation);
  std::vector<LongOption> options{{"help", 'h'},
                                  {"format", 'f', true},
                                  {"image-opts", kImageOpts},
                                  {"cache", 't', true},
                                  {"count", 'c', true},
                                  {"buffer-size", 's', true},
                                  {"depth", 'd', true},
                                  {"offset", 'o', true},
                                  {"step-size", 'S', true},
                                  {"aio", 'i', true},
                                  {"native", 'n'},
                                  {"write", 'w'},
                                  {"pattern", kPattern, true},
                                  {"flush-interval", kFlushInterval, true},
                                  {"no-drain", kNoDrain},
                                  {"force-share", 'U'}};
  if (!invocation.as_qemu()) options.push_back({"output", kOutput, true});
  OptionReader reader(invocation, "hc:d:f:i:no:qs:S:t:wU", options);
  while (const std::optional<int> option = reader.next()) {
    switch (*option) {
      case 'f':
        arguments.job.image.format = reader.argument();
        break;
      case kImageOpts:
        arguments.image_opts = true;
        break;
      case 't':
        set_cache(arguments.job, reader.argument());
        break;
      case 'i':
        set_aio(arguments.job, reader.argument());
        break;
      case 'n':
        arguments.job.native_aio = true;
        break;
      case 'U':
        arguments.job.image.force_share = true;
        break;
      case kOutput:
        arguments.output = parse_output_format(reader.argument());
        break;
      default:  // -q is accepted, and changes nothing
        read_request_option(arguments, *option, reader.argument());
    }
  }
  arguments.job.filename = reader.only_name();
  check_requests(arguments);
  arguments.job.image.writable = arguments.job.requests.writes;
  if (arguments.image_opts) {
    set_image_opts(invocation, arguments.job.filename, arguments.job.image);
  }
  return arguments;
}

void print_plan(const jobs::BenchRequests& requests) {
  print(
      fmt::format("Sending {} {} requests, {} bytes each, {} in parallel (starting at offset {}, "
                  "step size {})\n",
                  requests.count, requests.writes ? "write" : "read", requests.length,
                  requests.depth, requests.offset, requests.step));
  if (requests.flush_interval != 0) {
    print(fmt::format("Sending flush every {} requests\n", requests.flush_interval));
  }
}

double microseconds(std::chrono::nanoseconds time) {
  return static_cast<double>(time.count()) / 1e3;
}

std::string json_text(const jobs::BenchRequests& requests, const jobs::BenchResult& result) {
  const double seconds = static_cast<double>(result.elapsed.count()) / 1e9;
  const auto per_second = [&](uint64_t amount) {
    return seconds == 0 ? 0 : static_cast<double>(amount) / seconds;
  };
  const jobs::Latencies& times = result.latencies;
  return fmt::format(
      R"({{
    "operation": "{}",
    "requests": {},
    "bytes": {},
    "flushes": {},
    "seconds": {:.9f},
    "requests-per-second": {:.3f},
    "bytes-per-second": {:.0f},
    "latency-us": {{
        "50": {:.3f},
        "90": {:.3f},
        "99": {:.3f},
        "99.9": {:.3f},
        "max": {:.3f}
    }}
}}
)",
      requests.writes ? "write" : "read", requests.count, requests.count * requests.length,
      result.flushes, seconds, per_second(requests.count),
      per_second(requests.count * requests.length), microseconds(times.percentile_tenths(500)),
      microseconds(times.percentile_tenths(900)), microseconds(times.percentile_tenths(990)),
      microseconds(times.percentile_tenths(999)), microseconds(times.max()));
}

}  // namespace

int run_bench(Invocation& invocation) {
  BenchArguments arguments = read_arguments(invocation);
  const jobs::BenchRequests requests = arguments.job.requests;
  const bool is_json = arguments.output == OutputFormat::kJson;
  InterruptibleScope scope;
  arguments.job.cancellation = &scope.cancellation();
  if (!is_json) arguments.job.on_open = [requests] { print_plan(requests); };
  Loop loop;
  const jobs::BenchResult result = loop.run(jobs::bench(std::move(arguments.job)));
  if (is_json) {
    print(json_text(requests, result));
  } else {
    const double seconds = static_cast<double>(result.elapsed.count()) / 1e9;
    print(fmt::format("Run completed in {:.3f} seconds.\n", seconds));
  }
  return 0;
}

}  // namespace byre::cli
