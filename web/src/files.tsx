/** Checkpoints and files of an experiment: what they are, and which line they come from. */
import { Card, Copied, Lead, Rows } from "./bits";
import { bytes, moment, plain } from "./format";
import type { FileEntry, Overview } from "./overviews";
import { fileAddress } from "./source";

/** A link to a file: shown by the browser where the server lets it, else saved. */
export function FileLink({ id, path, text }: { id: string; path: string; text?: string }) {
  return <a href={fileAddress(id, path)} target="_blank" rel="noopener noreferrer">{text ?? path}</a>;
}

function Digest({ sha256 }: { sha256: string | null | undefined }) {
  return sha256 ? <><code title={sha256}>{sha256.slice(0, 10)}</code> <Copied text={sha256} /></> : null;
}

function Origin({ file }: { file: FileEntry }) {
  return <Lead to={{ tab: "events", line: `${file.run}.${file.seq}` }} title="The line that names it">{file.run}.{file.seq}</Lead>;
}

export function Files({ of }: { of: Overview }) {
  return (
    <div class="cards">
      <Card wide label="Checkpoints">
        {of.checkpoints.length ? (
          <Rows label="Checkpoints" head={["file", "step", "metrics", "size", "SHA-256", "state"]} numbers={[1, 3]} rows={of.checkpoints.map((one) => [
            <>{one.file.path ? <FileLink id={of.id} path={one.file.path} text={`${one.portfolio}/${one.name}`} /> : one.name}{one.paths.length > 1 && <small> also {one.paths.slice(1).join(", ")}</small>}</>,
            plain(one.step), Object.entries(one.metrics).map(([name, value]) => `${name} ${plain(value)}`).join(", "), one.file.size == null ? "" : bytes(one.file.size), <Digest sha256={one.file.sha256} />,
            one.is_best ? <span class="chip good">best</span> : one.is_superseded ? <span class="chip">superseded</span> : "",
          ])} />
        ) : <p class="dim">None is kept.</p>}
      </Card>
      <Card wide label="Files">
        {of.files.length ? (
          <Rows label="Files" head={["file", "type", "size", "step", "when", "SHA-256", "line"]} numbers={[2, 3]} rows={of.files.map((file) => [
            <FileLink id={of.id} path={file.path} />, file.media_type ?? "", file.size == null ? "" : bytes(file.size), plain(file.step), moment(file.time), <Digest sha256={file.sha256} />, <Origin file={file} />,
          ])} />
        ) : <p class="dim">None was attached.</p>}
      </Card>
    </div>
  );
}
