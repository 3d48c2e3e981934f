//! The style sheet of the page, for light and dark screens of any width.

/// The rules of the page and of the charts that only the page has. Those of all charts come before them.
pub(super) const PAGE_STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1f2328;--quiet:#59636e;--page:#fff;--line:#d1d9e0;--tint:#f6f8fa}
@media(prefers-color-scheme:dark){:root{--ink:#f0f6fc;--quiet:#9198a1;--page:#0d1117;--line:#3d444d;--tint:#151b23}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:72rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page)}
h1{font-size:1.6rem;margin:0}
h2{font-size:1.15rem;margin:2rem 0 .5rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}
p{margin:.4rem 0}
.quiet{color:var(--quiet);font-size:.9rem}
ul{margin:.3rem 0;padding-left:1.2rem}
li{margin:.15rem 0;overflow-wrap:anywhere}
.verdict{background:var(--tint);border:1px solid var(--line);border-radius:8px;padding:.8rem 1.1rem;margin:1.2rem 0;font-size:1.05rem}
.verdict h2{margin:0 0 .3rem}
pre{background:var(--tint);border:1px solid var(--line);border-radius:8px;padding:.7rem 1rem;overflow-x:auto;font-size:.88rem;white-space:pre-wrap;overflow-wrap:anywhere}
details{border-top:1px solid var(--line);padding:.5rem 0}
summary{cursor:pointer;font-weight:600}
figure{margin:0}
.wide{overflow-x:auto}
.wide svg{display:block;width:100%;min-width:640px;height:auto}
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,30rem),1fr));gap:1rem}
.pairs svg{display:block;width:100%;height:auto}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;padding:0}
.legend svg{width:16px;height:12px;margin-right:.4rem}
.table{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;font-size:.88rem}
th,td{padding:.2rem .6rem;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}
th{position:sticky;top:0;background:var(--page)}
.number{text-align:right;font-variant-numeric:tabular-nums}
.remark{color:var(--quiet);padding-left:0}
.series{fill:none;stroke-width:1.7;stroke-linejoin:round}
.single{fill:none;stroke-width:1;stroke-opacity:.28}
.wait{stroke-width:2;stroke-opacity:.6}
.late .mark{fill-opacity:.6;stroke-width:1}
.frame{fill:none;stroke:var(--line)}
.band{fill:#6b7280;stroke:none;fill-opacity:.16}
.band.later{fill-opacity:.07}
";
