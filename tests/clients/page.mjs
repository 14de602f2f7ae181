// Looks at the live page in Chromium: page.mjs URL. Prints what it saw, as one JSON text.

import { chromium } from 'playwright-core';

const url = process.argv[2];
const args = ['--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', chromiumSandbox: false, args });
const saw = { errors: [], requests: [] };

/** The lowest contrast of any text, as WCAG defines it; runs in the page. */
function lowestContrast() {
  const parse = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  let lowest = 21;
  for (const element of document.querySelectorAll('body *')) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    if (['SCRIPT', 'STYLE', 'title'].includes(element.tagName)) continue;
    const [a, b] = [parse(getComputedStyle(element).color), background(element)].map(luminance);
    lowest = Math.min(lowest, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return lowest;
}

/** All numbers on the page; runs in the page. */
function read() {
  const number = (text) => Number(text.replaceAll(',', ''));
  const rows = (id) => [...document.getElementById(id).rows].map((row) => [row.cells[0].textContent, number(row.cells[1].textContent)]);
  return {
    state: document.getElementById('state').textContent,
    active: number(document.getElementById('active').textContent),
    waiting: number(document.getElementById('waiting').textContent),
    started: number(document.getElementById('started').textContent),
    outcomes: Object.fromEntries(rows('outcomes')),
    ttft: rows('ttft-rows'),
    inter_event: rows('inter_event-rows'),
    servers: document.getElementById('upstreams').hidden ? null
      : [...document.getElementById('servers').rows].map((row) => [...row.cells].slice(0, 4).map((cell) => cell.textContent)),
    // The servers of the streams that are silent; null where the column is not shown.
    silent_servers: [...document.getElementById('silent-rows').rows].map((row) => [...row.cells].find((cell) => cell.className === 'server'))
      .map((cell) => (getComputedStyle(cell).display === 'none' ? null : cell.textContent)),
    slowest: document.getElementById('slowest-rows').rows.length,
    silent: document.getElementById('silent-rows').rows.length,
  };
}

for (const colorScheme of ['light', 'dark']) {
  const page = await browser.newPage({ colorScheme, viewport: { width: 390, height: 800 } });
  page.on('console', (message) => saw.errors.push(message.text()));
  page.on('pageerror', (error) => saw.errors.push(String(error)));
  page.on('request', (request) => saw.requests.push(new URL(request.url()).origin));
  await page.goto(url);
  await page.locator('#version', { hasText: /./ }).waitFor();
  saw[colorScheme] = {
    contrast: await page.evaluate(`(${lowestContrast})()`),
    overflow: await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'),
  };
  if (colorScheme === 'dark') {
    saw.numbers = await page.evaluate(`(${read})()`);
    // How many updates come in five seconds.
    await page.evaluate(`window.updates = 0;
      new MutationObserver(() => window.updates++).observe(document.getElementById('version'), { childList: true })`);
    await page.waitForTimeout(5000);
    saw.updates = await page.evaluate('window.updates');
    saw.focus = [];
    for (let i = 0; i < 8; i++) {
      await page.keyboard.press('Tab');
      saw.focus.push(await page.evaluate(`(() => {
        const { id, tagName, attributes } = document.activeElement;
        return id || attributes.getNamedItem('href')?.value || attributes.getNamedItem('aria-labelledby')?.value || tagName;
      })()`));
    }
    await page.focus('#minute');
    await page.keyboard.press('Enter');
    saw.pressed = await page.getAttribute('#minute', 'aria-pressed');
    saw.unnamed = await page.evaluate(`[...document.querySelectorAll('section, table, svg, button, nav')]
      .filter((e) => !(e.textContent.trim() || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby'))).length`);
  }
  await page.close();
}
await browser.close();
console.log(JSON.stringify(saw));
