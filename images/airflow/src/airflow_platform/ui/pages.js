// The platform's pages in Airflow's UI: a task instance's tab "Why", and the page "Node pools".
//
// Airflow imports this module and gives its own libraries as globals, so there is nothing to build: React without JSX,
// Chakra's components, which follow the UI's theme, and the UI's router. All text goes through React, which escapes it.

const { createElement: h, useEffect, useState } = globalThis.React;
const { Link } = globalThis.ReactRouterDOM;
const { Badge, Box, Code, Heading, HStack, Progress, Stack, Table, Text } = globalThis.ChakraUI;

// Milliseconds between two looks, while the page is in view.
const REFRESH = 5000;

const KINDS = {
  user: { color: "red", whose: "the task's author" },
  capacity: { color: "orange", whose: "nobody: room has to come free" },
  transient: { color: "orange", whose: "nobody: it passes" },
  infrastructure: { color: "purple", whose: "the cluster" },
  platform: { color: "purple", whose: "whoever runs the platform" },
  fine: { color: "green", whose: "" },
};

const encode = encodeURIComponent;

function pathOfTask({ dag_id, run_id, task_id, map_index }) {
  const mapped = map_index >= 0 ? `/mapped/${map_index}` : "";
  return `/dags/${encode(dag_id)}/runs/${encode(run_id)}/tasks/${encode(task_id)}${mapped}`;
}

// What a route of the platform answers, asked again and again: {answer, error}.
function useAnswer(path) {
  const [state, setState] = useState({});
  useEffect(() => {
    let gone = false;
    setState({});
    const ask = async () => {
      if (document.hidden) {
        return;
      }
      try {
        const response = await fetch(new URL(`airflow-platform/${path}`, document.baseURI));
        const body = await response.json().catch(() => ({}));
        if (!response.ok) {
          throw new Error(body.detail ?? `${response.status} ${response.statusText}`);
        }
        if (!gone) {
          setState({ answer: body });
        }
      } catch (error) {
        if (!gone) {
          setState((before) => ({ ...before, error: error.message }));
        }
      }
    };
    ask();
    const timer = setInterval(ask, REFRESH);
    document.addEventListener("visibilitychange", ask);
    return () => {
      gone = true;
      clearInterval(timer);
      document.removeEventListener("visibilitychange", ask);
    };
  }, [path]);
  return state;
}

function Page({ answer, error, children }) {
  const notice = error && h(Text, { color: "fg.error", "data-testid": "platform-error" }, error);
  const wait = !answer && !error && h(Text, { color: "fg.muted" }, "Asking …");
  return h(Box, { height: "100%", overflowY: "auto", p: 4 }, h(Stack, { gap: 6 }, notice, wait, answer && children()));
}

function Lines({ title, lines }) {
  if (!lines.length) {
    return null;
  }
  const text = h(Code, { as: "pre", display: "block", p: 3, variant: "surface", whiteSpace: "pre-wrap" }, lines.join("\n"));
  return h(Box, null, h(Heading, { mb: 2, size: "sm" }, title), text);
}

function Rows({ rows }) {
  const row = ([name, value]) =>
    h(
      Table.Row,
      { key: name },
      h(Table.Cell, { color: "fg.muted", width: "10rem" }, name),
      h(Table.Cell, { wordBreak: "break-word" }, value),
    );
  return h(Table.Root, { size: "sm" }, h(Table.Body, null, rows.map(row)));
}

const moment = (seconds) => new Date(seconds * 1000).toLocaleString();

function Why({ dagId, runId, taskId, mapIndex }) {
  const query = new URLSearchParams({ run_id: runId });
  if (mapIndex !== undefined && mapIndex !== "-1") {
    query.set("map_index", mapIndex);
  }
  const { answer, error } = useAnswer(`why/${encode(dagId)}/${encode(taskId)}?${query}`);
  return h(Page, { answer, error }, () => {
    const kind = KINDS[answer.kind ?? "fine"] ?? KINDS.fine;
    const sure = answer.certain ? answer.cause : `${answer.cause} (most likely)`;
    const rows = [["cause", sure], kind.whose && ["whose turn", kind.whose]];
    if (answer.since) {
      rows.push(["since", moment(answer.since)]);
    }
    const other = answer.object_kind === "task" && answer.object !== answer.task_id && answer.run_id;
    const elsewhere = { dag_id: dagId, map_index: -1, run_id: answer.run_id, task_id: answer.object };
    return [
      h(
        Stack,
        { borderColor: `${kind.color}.solid`, borderStartWidth: "4px", gap: 2, key: "answer", ps: 4 },
        h(Box, null, h(Badge, { colorPalette: kind.color }, answer.state?.replaceAll("_", " ") ?? "no state yet")),
        h(Text, { "data-testid": "platform-why", fontSize: "lg", fontWeight: "semibold" }, answer.sentence),
        h(
          HStack,
          { color: "fg.info", gap: 4 },
          answer.run_id && answer.try_number > 0 && h(Link, { to: pathOfTask(answer) }, "Its log"),
          other && h(Link, { to: `${pathOfTask(elsewhere)}/plugin/why` }, `Why of ${answer.object}`),
        ),
      ),
      h(Lines, { key: "lines", lines: answer.last_lines, title: "Last lines of the log" }),
      h(Rows, { key: "rows", rows: [...rows.filter(Boolean), ...answer.details] }),
      h(Lines, { key: "events", lines: answer.events, title: "Events of the pod" }),
    ];
  });
}

function Head({ names }) {
  return h(
    Table.Header,
    null,
    h(
      Table.Row,
      null,
      names.map((name) => h(Table.ColumnHeader, { key: name }, name)),
    ),
  );
}

function Nodes({ nodes }) {
  // Known only where all pods may be listed.
  const free = nodes.every((node) => node.free);
  const row = (node) => {
    const cells = [node.name, node.state, node.size.join(", "), node.requested.join(", ") || "nothing", String(node.pods)];
    if (free) {
      cells.splice(3, 0, node.free.join(", "));
    }
    return h(
      Table.Row,
      { key: node.name },
      cells.map((cell, index) => h(Table.Cell, { key: index }, cell)),
    );
  };
  return h(
    Table.Root,
    { size: "sm" },
    h(Head, { names: ["Node", "State", "Room in all", ...(free ? ["Free"] : []), "Asked for by tasks", "Task pods"] }),
    h(Table.Body, null, nodes.map(row)),
  );
}

function Waiting({ pool }) {
  const count = pool.waiting.length + pool.more;
  if (!count && !pool.hidden) {
    return h(Text, { color: "fg.muted" }, "Nothing waits.");
  }
  const row = (one) =>
    h(
      Table.Row,
      { key: `${one.dag_id} ${one.run_id} ${one.task_id} ${one.map_index} ${one.state}` },
      h(
        Table.Cell,
        { color: "fg.info" },
        h(
          Link,
          { to: `${pathOfTask(one)}/plugin/why` },
          `${one.dag_id}.${one.task_id}${one.map_index >= 0 ? `[${one.map_index}]` : ""}`,
        ),
      ),
      h(Table.Cell, null, one.state),
      h(Table.Cell, null, one.since ? moment(one.since) : ""),
      h(Table.Cell, { wordBreak: "break-word" }, one.why),
    );
  const beyond = [
    pool.more && `${pool.more} more tasks wait.`,
    pool.hidden && `${pool.hidden} tasks of DAGs that you may not read wait, too.`,
  ].filter(Boolean);
  return h(
    Box,
    null,
    pool.waiting.length > 0 &&
      h(
        Table.Root,
        { size: "sm" },
        h(Head, { names: ["Waiting task", "State", "Since", "Why"] }),
        h(Table.Body, null, pool.waiting.map(row)),
      ),
    beyond.map((text) => h(Text, { color: "fg.muted", key: text }, text)),
  );
}

function Pool({ pool, nodesKnown }) {
  const selector = Object.entries(pool.node_selector ?? {}).map(([key, value]) => `${key}=${value}`);
  const states = Object.entries(pool.states).map(([state, slots]) => `${slots} ${state}`);
  const badge = (color, text) => h(Badge, { colorPalette: color, key: text }, text);
  return h(
    Stack,
    { borderRadius: "md", borderWidth: "1px", "data-testid": `platform-pool-${pool.name}`, gap: 3, p: 4 },
    h(
      HStack,
      { gap: 3 },
      h(Heading, { size: "md" }, pool.name),
      selector.length > 0 && h(Text, { color: "fg.muted" }, `nodes with ${selector.join(", ")}`),
      pool.without_node && badge("red", "no node"),
      pool.missing && badge("red", "not in Airflow yet"),
    ),
    h(
      HStack,
      { gap: 3 },
      h(
        Text,
        null,
        pool.slots === null ? `${pool.used} slots taken` : `${pool.used} of ${pool.slots} slots taken`,
        states.length > 0 && ` (${states.join(", ")})`,
      ),
      pool.slots > 0 &&
        h(
          Progress.Root,
          { colorPalette: pool.used >= pool.slots ? "orange" : "blue", max: pool.slots, size: "sm", value: Math.min(pool.used, pool.slots), width: "12rem" },
          h(Progress.Track, null, h(Progress.Range, null)),
        ),
    ),
    pool.note && h(Text, { color: "fg.error" }, pool.note),
    pool.nodes?.length > 0 && h(Nodes, { nodes: pool.nodes }),
    pool.node_selector && !nodesKnown && h(Text, { color: "fg.muted" }, "Its nodes cannot be listed from here (readNodes)."),
    h(Waiting, { pool }),
  );
}

function NodePools() {
  const { answer, error } = useAnswer("node-pools");
  return h(Page, { answer, error }, () =>
    answer.pools.map((pool) => h(Pool, { key: pool.name, nodesKnown: answer.nodes_known, pool })),
  );
}

// By these names Airflow finds them: those of `airflow_platform.ui.plugin`.
globalThis.Why = Why;
globalThis["Node pools"] = NodePools;
